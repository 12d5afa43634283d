"""Which adapters stand on a base model, by the resolver's own rules about bases (R2 to R4)."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from registry import base_models, candidates, matrix, rules
from registry.models import Account, BaseModel
from registry.plan import Candidate, Finding, Plan, make_plan
from registry.schemas import BaseIdentity, FitOut, Need, Recipe

KINDS = ("task", "language", "fusion", "head", "embedding")

_SLOT = "adapter"
_ORDER = ("fits", "near", "unsure")


def get_base(session: Session, selector: str) -> BaseModel:
    """Return a registered base by name, `name@revision`, or the digest of its body or a cast of it.

    Raises BaseModelNotFound.
    """
    return base_models.get(session, wanted(selector))


def wanted(selector: str) -> str | BaseIdentity:
    """Return what a selector as people type it asks for."""
    return BaseIdentity(body=selector) if selector.startswith("sha256:") else selector


def fitting(session: Session, base: str | BaseIdentity, viewer: Account | None) -> list[FitOut]:
    """Return the newest version of each adapter for bases of this structure: first what fits.

    Raises BaseModelNotFound for a name or digest that is not registered, InvalidRecipe for an
    identity that says nothing.
    """
    base = wanted(base) if isinstance(base, str) else base
    resolved, found = candidates.of_base(session, base, viewer, kinds=KINDS)
    plan = make_plan(Recipe(slots={_SLOT: Need(kind="task")}, setup=_SLOT), resolved)
    judged = (_judge(plan, candidate) for candidate in matrix.newest(found))
    return sorted((fit for fit in judged if fit is not None), key=lambda fit: _ORDER.index(fit.fit))


def _judge(plan: Plan, candidate: Candidate) -> FitOut | None:
    """Return how well an adapter stands on the plan's base; None for one of another base."""
    structure = list(rules.structure(plan, _SLOT, candidate))
    if any(finding.refused for finding in structure):
        return None
    others = [
        finding
        for rule in (rules.body, rules.vocabulary)
        for finding in rule(plan, _SLOT, candidate)
    ]
    return FitOut(
        name=candidate.adapter,
        number=str(candidate.number),
        kind=candidate.kind,
        method=candidate.signature.method,
        language=candidate.signature.language,
        fit="near" if others else "unsure" if structure else "fits",
        reason=_words([*structure, *others]) or "the same weights, embeddings and tokenizer",
    )


def _words(findings: Iterable[Finding]) -> str:
    return "; ".join(finding.text for finding in findings)
