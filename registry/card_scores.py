"""Scores and cards: what a card states is recorded when its version is published, and what the hub
has recorded is stated with the card.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from registry import frontmatter, model_index, scores
from registry.errors import InvalidScore
from registry.models import Account, Adapter
from registry.schemas import ScoreIn, ScoreOut

UNKNOWN_TASK = "other"
"""What clients of the Hub expect where no task is known."""


def record(session: Session, content: str, card: str, account: Account) -> tuple[str, ...]:
    """Record the results of a card as reported for this content; return what could not be.

    A value that differs from what the account last reported replaces it: the newer card counts. A
    result that cannot be right does not stand in the way of the version.
    """
    faults = []
    for entry in model_index.read(frontmatter.split(card).metadata):
        if isinstance(entry, model_index.Unreadable):
            faults.append(str(entry))
            continue
        try:
            with session.begin_nested():
                scores.record(session, _score(content, entry), account, replace=True)
        except InvalidScore as error:
            faults.append(f"{entry.where}: {error}")
    return tuple(f"not recorded as a score: {model_index.KEY}, {fault}" for fault in faults)


def _score(content: str, entry: model_index.Entry) -> ScoreIn:
    return ScoreIn(
        subject=content,
        dataset=entry.dataset,
        config=entry.config,
        split=entry.split,
        metric=entry.metric,
        value=entry.value,
        conditions=dict(entry.conditions),
    )


def completed_index(
    session: Session, adapter: Adapter, card: frontmatter.Card, viewer: Account | None
) -> list[Any] | None:
    """Return the card's model-index, completed by the scores that the hub has and viewers see."""
    task = next(iter(card.words("pipeline_tag")), UNKNOWN_TASK)
    measured = _measured(scores.for_adapter(session, adapter, viewer), task)
    return model_index.completed(card.metadata.get(model_index.KEY), adapter.name, measured)


def _measured(rows: list[ScoreOut], task: str) -> Iterator[model_index.Measured]:
    for row in rows:
        setup = {"setup": row.subject, "slots": row.slots} if row.slots else {}
        how = {"conditions": row.conditions} if row.conditions else {}
        precision = {key: value for key in ("n", "stderr") if (value := getattr(row, key))}
        yield model_index.Measured(
            dataset=row.dataset,
            config=row.config,
            split=row.split,
            task=task,
            metric=row.metric,
            value=row.value,
            verified=row.source == "verified",
            args=setup | how | precision,
        )
