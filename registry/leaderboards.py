"""Scores side by side: what was measured on the same data, by the same metric, in the same way.

Ranks are shown, and nothing chooses by them: the resolver never looks here.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from registry import records, score_subjects, scores, strictjson
from registry.models import Account, Score
from registry.schemas import (
    BoardEntry,
    BoardGroup,
    BoardKey,
    BoardOut,
    LeaderboardOut,
    ScoreOut,
)

RUNS = frozenset({"seed", "seeds", "note", "setup"})
"""Conditions that tell runs of one experiment apart; all others tell experiments apart."""

TRANSFER = {True: "zero-shot", False: "fine-tuned"}
NOT_STATED = "not stated"
_ORDER = (*TRANSFER.values(), NOT_STATED)


def boards(
    session: Session,
    viewer: Account | None,
    *,
    dataset: str | None = None,
    metric: str | None = None,
) -> list[BoardOut]:
    """Return every board with a score that counts, of a data set or metric if one is given."""
    query = _visible(viewer)
    if dataset is not None:
        query = query.where(Score.dataset == records.dataset_name(session, dataset))
    if metric is not None:
        query = query.where(Score.metric == records.metric(session, metric).name)
    found = _shown(session, query, viewer)
    return [_summary(list(group)) for _, group in groupby(found, key=_key)]


def board(session: Session, key: BoardKey, viewer: Account | None) -> LeaderboardOut:
    """Return one board; it is empty where nothing is measured. Raises InvalidScore (metric)."""
    metric = records.metric(session, key.metric)
    wanted = key.model_copy(
        update={
            "metric": metric.name,
            "dataset": records.dataset_name(session, key.dataset),
        }
    )
    conditions = [getattr(Score, field) == value for field, value in wanted if value is not None]
    missing = [getattr(Score, field).is_(None) for field, value in wanted if value is None]
    found = _shown(session, _visible(viewer).where(*conditions, *missing), viewer)
    return LeaderboardOut(
        **wanted.model_dump(),
        higher_is_better=metric.higher_is_better,
        unit=metric.unit,
        groups=_groups(found, higher_is_better=metric.higher_is_better),
    )


def transfer(conditions: dict[str, Any]) -> str:
    """Return whether a score is said to be of zero-shot transfer."""
    stated = conditions.get("zero_shot")
    return TRANSFER[stated] if isinstance(stated, bool) else NOT_STATED


def _visible(viewer: Account | None) -> Select[Score]:
    return select(Score).where(score_subjects.visible(Score.subject, viewer)).order_by(Score.id)


def _shown(session: Session, query: Select[Score], viewer: Account | None) -> list[ScoreOut]:
    return scores.shown(session, session.scalars(query).all(), viewer)


def _key(score: ScoreOut) -> tuple[str, ...]:
    fields = (score.dataset, score.config, score.split, score.language, score.metric)
    return tuple(field or "" for field in fields)


def _summary(found: Sequence[ScoreOut]) -> BoardOut:
    first = found[0]
    best = max if first.higher_is_better else min
    return BoardOut(
        dataset=first.dataset,
        config=first.config,
        split=first.split,
        language=first.language,
        metric=first.metric,
        higher_is_better=first.higher_is_better,
        unit=first.unit,
        scores=len(found),
        verified=sum(score.verified for score in found),
        best=best(score.value for score in found),
    )


def _groups(found: Iterable[ScoreOut], *, higher_is_better: bool) -> list[BoardGroup]:
    """Part the scores by their conditions; zero-shot ones come first."""
    parted: dict[bytes, list[ScoreOut]] = {}
    for score in found:
        parted.setdefault(strictjson.canonical(compared(score.conditions)), []).append(score)
    groups = [
        BoardGroup(
            transfer=transfer(group[0].conditions),
            conditions=compared(group[0].conditions),
            verified=_ranked((s for s in group if s.verified), higher_is_better),
            reported=_ranked((s for s in group if not s.verified), higher_is_better),
        )
        for _, group in sorted(parted.items())
    ]
    return sorted(groups, key=lambda group: _ORDER.index(group.transfer))


def compared(conditions: dict[str, Any]) -> dict[str, Any]:
    """Return the conditions that two scores must share to be compared."""
    return {key: value for key, value in sorted(conditions.items()) if key not in RUNS}


def _ranked(found: Iterable[ScoreOut], higher_is_better: bool) -> list[BoardEntry]:
    best_first = sorted(found, key=lambda score: -score.value if higher_is_better else score.value)
    ranks: dict[float, int] = {}
    for place, score in enumerate(best_first, start=1):
        ranks.setdefault(score.value, place)
    return [BoardEntry(rank=ranks[score.value], score=score) for score in best_first]
