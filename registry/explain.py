"""Why a set-up was resolved as it was, or could not be, in words for a person."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from registry.errors import ResolutionImpossible
from registry.fitting import Choice, Index, judge, judge_choice, judge_pair
from registry.plan import Candidate, Finding, Placed, Plan, by_age
from registry.preference import Rank, rank
from registry.schemas import Need

MOST_SHOWN = 5
"""Of the many partners that a candidate does not go with, so many are named."""


def warnings(plan: Plan, choice: Choice) -> list[str]:
    """Return the warnings about the chosen, each once, in the order of the slots."""
    found: list[Finding] = []
    for slot in sorted(choice):
        own = Placed(slot, choice[slot])
        found += judge(plan, *own)
        for other in sorted(choice):
            if slot < other:
                found += judge_pair(plan, own, Placed(other, choice[other]))
    found += judge_choice(plan, choice)
    return list(dict.fromkeys(finding.told_of() for finding in found))


# --- what was chosen -----------------------------------------------------------------------------


def why(index: Index, choice: Choice, slot: str) -> dict[str, Any]:
    """Return for a slot what was chosen, why, and for every other candidate why it was not."""
    chosen = choice[slot]
    return {
        "chosen": chosen.ref,
        "because": _because(index.plan, choice, slot),
        "rejected": {
            candidate.ref: _why_not(index, choice, slot, candidate)
            for candidate in index.every[slot]
            if candidate.ref != chosen.ref
        },
    }


def _earlier(plan: Plan, choice: Choice, slot: str) -> Choice:
    order = plan.by_preference
    return {each: choice[each] for each in order[: order.index(slot)]}


def _because(plan: Plan, choice: Choice, slot: str) -> str:
    best = rank(plan, _earlier(plan, choice, slot), slot, choice[slot])
    if plan.named(slot):
        return f"the recipe names {plan.slots[slot]}"
    if best.trained_together:
        return "the very adapter that its partner was trained with"
    if best.same_series:
        return "of the series that its partner was trained with"
    if best.equal_contract:
        return "equal to the partner in training in all that the contract names"
    return "the only adapter that fits"


def _why_not(index: Index, choice: Choice, slot: str, candidate: Candidate) -> list[str]:
    """Say why a candidate was not chosen: a rule, a partner, or that another is better."""
    others = {other: choice[other] for other in choice if other != slot}
    found = index.refusals(slot, candidate) or index.clashes(others, slot, candidate)
    if found:
        return [finding.told_of(candidate.ref) for finding in found]
    earlier, chosen = _earlier(index.plan, choice, slot), choice[slot]
    own, best = (rank(index.plan, earlier, slot, each) for each in (candidate, chosen))
    return [_why_worse(own, best, candidate, chosen)]


def _why_worse(own: Rank, best: Rank, candidate: Candidate, chosen: Candidate) -> str:
    if own.trained_together != best.trained_together:
        return f"{chosen.ref} is the very adapter that its partner was trained with"
    if own.same_series != best.same_series:
        return f"of another series than its partner was trained with, unlike {chosen.ref}"
    if own.equal_contract != best.equal_contract:
        return f"fits, but {chosen.ref} is closer to the partner in training"
    if own.live != best.live:
        return f"is {candidate.state}, {chosen.ref} is live"
    return f"{chosen.ref} is newer"


# --- when nothing can be chosen ------------------------------------------------------------------


def impossible(index: Index) -> ResolutionImpossible:
    """Return the error that says, for every candidate, what stands against it."""
    reasons = {slot: list(_reasons(index, slot)) for slot in sorted(index.plan.slots)}
    return ResolutionImpossible(_summary(index), reasons=reasons)


def _summary(index: Index) -> str:
    plan = index.plan
    empty = [slot for slot in sorted(plan.slots) if not index.open[slot]]
    if all(len(found) == 1 for found in index.every.values()):
        # With one candidate each there is one story to tell, and it fits into a line.
        slot = (empty or sorted(plan.slots))[0]
        first, *more = _against(index, slot, index.every[slot][0])
        return f"nothing fits: {first.told_of()}{f' (and {len(more)} more)' if more else ''}"
    if empty:
        asked = ", ".join(f"{slot!r} ({_asked(plan.slots[slot])})" for slot in empty)
        return f"nothing fits the slot{'s' if len(empty) > 1 else ''} {asked} on {plan.base}"
    return f"no combination of the candidates fits on {plan.base}"


def _asked(filling: str | Need) -> str:
    if isinstance(filling, str):
        return filling
    return ", ".join(f"{key} {value}" for key, value in filling.model_dump().items() if value)


def _reasons(index: Index, slot: str) -> Iterator[str]:
    if not index.every[slot]:
        yield f"nothing is published here that answers {_asked(index.plan.slots[slot])}"
    for candidate in index.every[slot]:
        found = _against(index, slot, candidate)
        for line in _lines(found, candidate) or _waiting(index, slot):
            yield f"{candidate.ref}: {line}"


def _lines(found: Iterable[Finding], candidate: Candidate) -> list[str]:
    return [finding.told_of(candidate.ref) for finding in found]


def _waiting(index: Index, slot: str) -> list[str]:
    empty = [other for other in sorted(index.plan.slots) if other != slot and not index.open[other]]
    return [f"fits by itself, but nothing fits the slot {other!r}" for other in empty]


def _against(index: Index, slot: str, candidate: Candidate) -> list[Finding]:
    """Return why a candidate cannot be used; nothing where other slots are to blame."""
    if refused := index.refusals(slot, candidate):
        return refused
    others = [other for other in sorted(index.plan.slots) if other != slot]
    if not all(index.open[other] for other in others):
        return []
    nearest: dict[str, Candidate] = {}
    for other in others:
        fitting = (each for each in index.open[other] if index.fits({slot: candidate}, other, each))
        if (found := next(fitting, None)) is None:
            shown = index.open[other][:MOST_SHOWN]
            clashes = [index.clashes({other: each}, slot, candidate) for each in shown]
            return list(dict.fromkeys(finding for each in clashes for finding in each))
        nearest[other] = found
    return _all_clashes(index, nearest, slot, candidate)


def _all_clashes(index: Index, nearest: Choice, slot: str, candidate: Candidate) -> list[Finding]:
    """Return what is wrong among partners that fit the candidate one by one."""
    whole: dict[str, Candidate] = {}
    found: dict[Finding, None] = {}
    for each in [(slot, candidate), *nearest.items()]:
        found.update(dict.fromkeys(index.clashes(whole, *each)))
        whole[each[0]] = each[1]
    return list(found)


def ambiguous(slot: str, equal: Sequence[Candidate]) -> ResolutionImpossible:
    """Return the error that lists adapters between which only the caller can choose."""
    ordered = sorted(equal, key=by_age)
    refs = [candidate.ref for candidate in ordered]
    error = ResolutionImpossible(
        f"{len(refs)} adapters fit the slot {slot!r} equally well: {', '.join(refs)}",
        reasons={slot: [f"{each.ref}: {_describe(each)}" for each in ordered]},
        choices={slot: refs},
    )
    error.hint = f"name one of them, for example {slot}={refs[0]}"
    return error


def _describe(candidate: Candidate) -> str:
    signature = candidate.signature
    parts = [
        signature.method or "unknown method",
        f"invertible ({signature.invertible})" if signature.invertible else None,
        "with embedding rows" if signature.rows else None,
        f"series {signature.series}" if signature.series else None,
        f"language {signature.language}" if signature.language else None,
        f"licence {candidate.licence}" if candidate.licence else None,
    ]
    return ", ".join(part for part in parts if part)
