"""Which of the candidates that fit is best."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from registry import rules
from registry.fitting import Choice
from registry.plan import Candidate, Placed, Plan, by_age
from registry.schemas import Requirement


@dataclass(frozen=True, order=True)
class Rank:
    """How well a candidate suits what was chosen; later fields count where earlier are equal."""

    trained_together: bool
    same_series: bool
    equal_contract: bool
    live: bool


def rank(plan: Plan, choice: Choice, slot: str, candidate: Candidate) -> Rank:
    links = list(_links(plan, choice, slot, candidate))
    return Rank(
        trained_together=bool(links) and all(want.content == has.content for want, has in links),
        same_series=bool(links) and all(_same_series(want, has) for want, has in links),
        equal_contract=bool(links) and all(_equal_contract(want, has) for want, has in links),
        live=candidate.state == "live",
    )


def _links(
    plan: Plan, choice: Choice, slot: str, candidate: Candidate
) -> Iterator[tuple[Requirement, Candidate]]:
    """Yield each requirement between a candidate and those chosen, and who must meet it."""
    for other_slot, other in choice.items():
        if wanted := rules.requirement_on(plan, other, Placed(slot, candidate)):
            yield wanted, candidate
        if wanted := rules.requirement_on(plan, candidate, Placed(other_slot, other)):
            yield wanted, other


def _same_series(wanted: Requirement, found: Candidate) -> bool:
    series = wanted.signature.series
    return series is not None and series == found.signature.series


def _equal_contract(wanted: Requirement, found: Candidate) -> bool:
    own = {"language": None, "series": None, "slot": None, "rows": False}
    return wanted.signature.model_copy(update=own) == found.signature.model_copy(update=own)


def ranked(
    plan: Plan, choice: Choice, slot: str, candidates: Iterable[Candidate]
) -> list[Candidate]:
    """Return the candidates, the best first; those of one adapter and rank from the newest on."""
    newest_first = sorted(candidates, key=by_age)
    return sorted(newest_first, key=lambda each: rank(plan, choice, slot, each), reverse=True)
