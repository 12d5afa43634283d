"""Adapters by their best score on one data set by one metric: an order that people may ask for.

Counted are scores that stand, of the adapter's own contents; those of set-ups depend on partners.
"""

from typing import Any

from sqlalchemy import CompoundSelect, Subquery, func, select, union
from sqlalchemy.orm import Session

from registry import records
from registry.models import External, Manifest, Score, Version


def best(session: Session, dataset: str, metric: str) -> Subquery:
    """Return `adapter_id`, its best `value`, and `cost`, which is smaller for the better.

    Raises InvalidScore for an unknown metric.
    """
    known = records.metric(session, metric)
    sign = -1.0 if known.higher_is_better else 1.0
    contents = _contents().subquery()
    cost = func.min(Score.value * sign)
    replaced = select(Score.supersedes_id).where(Score.supersedes_id.is_not(None))
    return (
        select(contents.c.adapter_id, cost.label("cost"), (cost * sign).label("value"))
        .join_from(Score, contents, contents.c.digest == Score.subject)
        .where(Score.dataset == records.dataset_name(session, dataset), Score.metric == known.name)
        .where(Score.retracted_at.is_(None), Score.id.not_in(replaced))
        .group_by(contents.c.adapter_id)
        .subquery()
    )


def _contents() -> CompoundSelect[Any]:
    published = (
        select(Manifest.adapter_id, Manifest.content.label("digest"))
        .join(
            Version,
            (Version.adapter_id == Manifest.adapter_id)
            & (Version.revision_id == Manifest.revision_id),
        )
        .where(Version.state.in_(("live", "deprecated")))
    )
    external = select(External.adapter_id, External.digest.label("digest")).where(
        External.adapter_id.is_not(None)
    )
    return union(published, external)
