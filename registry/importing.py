"""Cards from elsewhere as external adapters, with their scores; again and again without harm.

The caller owns the transaction.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from registry import accounts, audit, records, score_subjects, scores, search
from registry.adapterhub_cards import CARD_URL, SOURCE, CardEntry, Checkout, Variant
from registry.errors import InvalidScore, NotAllowed
from registry.models import Account, Adapter, AdapterName, External, Metric
from registry.schemas import ExternalSubject, ScoreIn
from registry.tables import now

UNSTATED = "unstated"
"""The split of imported scores: the cards do not say."""


@dataclass
class Imported:
    """What an import did, by adapter and by score, and what it could not use."""

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[tuple[str, str, str]] = field(default_factory=list)
    """Path of the card, kind, text."""


def import_checkout(session: Session, checkout: Checkout, operator: Account) -> Imported:
    """Record every card. What is here already is brought up to date; nothing is recorded twice.

    Raises NotAllowed when the owner's name is somebody's, or the account is no operator.
    """
    if not operator.is_operator:
        raise NotAllowed("cards are imported by an operator of the hub")
    owner = accounts.find(session, SOURCE)
    if owner is None:
        owner = accounts.create_organisation(session, SOURCE, admin=operator)
    if owner.kind != "organisation":
        raise NotAllowed(f"the account {SOURCE} is a user's; the import needs that name")
    done = Imported()
    for card in checkout.cards:
        adapter = _record_card(session, card, owner, done)
        if adapter is not None:
            for variant in card.variants:
                subject = _record_variant(session, card, variant, adapter)
                _record_score(session, card, variant, subject, operator, done)
    audit.record(session, operator, "adapterhub.import", SOURCE, **done.counts)
    return done


def _record_card(
    session: Session, card: CardEntry, owner: Account, done: Imported
) -> Adapter | None:
    name, known = f"{SOURCE}/{card.name}", _described(card)
    holder = session.get(AdapterName, name)
    if holder is None:
        adapter = Adapter(owner=owner, name=name, external=known)
        session.add(adapter)
        session.flush()
        session.add(AdapterName(name=name, adapter_id=adapter.id))
        done.counts["added"] += 1
    else:
        adapter = session.get_one(Adapter, holder.adapter_id)
        if adapter.external is None or adapter.removed_at is not None:
            done.notes.append((card.path, "left out", f"{name} is an adapter of this hub, or was"))
            return None
        if adapter.external == known:
            done.counts["unchanged"] += 1
            return adapter
        adapter.external, adapter.updated_at = known, now()
        done.counts["updated"] += 1
    search.index_adapter(session, adapter)
    return adapter


def _described(card: CardEntry) -> dict[str, Any]:
    """Return what is kept of a card; the first fields are those that search and pages read."""
    return {
        "source": SOURCE,
        "url": CARD_URL + card.path,
        "title": f"{card.task_title}: {card.subtask}",
        "summary": card.description,
        "kind": card.kind,
        "method": card.method,
        "tasks": [card.task] if card.kind == "task" else ["fill-mask"],
        "languages": [card.language] if card.language else [],
        "base": card.base,
        "words": [*card.specifiers, card.author, card.dataset],
        "configuration": card.configuration,
        "dataset": card.dataset,
        "metric": card.metric,
        "author": card.author,
        "citation": card.citation,
        "default": card.default,
        "specifiers": list(card.specifiers),
        "dependencies": [dict(each) for each in card.dependencies],
        "variants": [
            {
                "name": variant.name,
                "url": variant.url,
                "digest": variant.digest,
                "score": variant.score,
                "description": variant.description,
            }
            for variant in card.variants
        ],
    }


def _record_variant(session: Session, card: CardEntry, variant: Variant, adapter: Adapter) -> str:
    subject = ExternalSubject(
        source=SOURCE,
        name=adapter.name,
        variant=variant.name,
        base=card.base,
        configuration=card.configuration,
        url=CARD_URL + card.path,
    )
    digest = score_subjects.record_external(session, subject, adapter)
    session.get_one(External, digest).document = subject.model_dump(mode="json", by_alias=True)
    return digest


# --- scores --------------------------------------------------------------------------------------


def _record_score(
    session: Session,
    card: CardEntry,
    variant: Variant,
    subject: str,
    operator: Account,
    done: Imported,
) -> None:
    if variant.score is None:
        return
    try:
        metric, value = _read_score(session, card, variant, done)
        body = ScoreIn(
            subject=subject,
            dataset=card.dataset,
            config=variant.dataset_config,
            split=UNSTATED,
            language=card.language if card.kind == "task" else None,
            metric=metric.name,
            value=value,
            source="imported",
        )
        before = _last(session, subject)
        score = scores.record(session, body, operator, replace=True)
    except InvalidScore as error:
        note = f"version {variant.name}: {variant.score!r}: {error}"
        done.notes.append((card.path, "score kept as text", note))
        return
    done.counts["scores unchanged" if score.id == before else "scores"] += 1


def _last(session: Session, subject: str) -> int | None:
    found = scores.for_subject(session, subject, None)
    return found[0].id if found else None


def _read_score(
    session: Session, card: CardEntry, variant: Variant, done: Imported
) -> tuple[Metric, float]:
    """Return the metric and the value in its unit. Raises InvalidScore."""
    if card.metric is None:
        raise InvalidScore(f"{card.task}/{card.subtask} says no metric")
    metric = records.metric(session, card.metric)
    if card.higher_is_better not in (None, metric.higher_is_better):
        raise InvalidScore(f"the subtask and the hub disagree on which {metric.name} is better")
    try:
        value = float(variant.score or "")
    except ValueError:
        raise InvalidScore("it is no number") from None
    if metric.unit == "fraction" and metric.upper == 1 and 1 < value <= 100:
        text = f"version {variant.name}: {variant.score} is {value / 100:g}"
        done.notes.append((card.path, "percentage", text))
        value = round(value / 100, 12)
    scores.check_value(metric, value)
    return metric, value
