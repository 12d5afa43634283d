"""Metrics, tasks and data sets: what the values of scores mean.

A metric's direction, unit and bounds are those of every value of it, so they are fixed as soon as
there is one. The caller owns the transaction.
"""

import difflib
import re
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry import audit, names
from registry.errors import InvalidScore, NotAllowed
from registry.models import Account, Dataset, Metric, Score, Task
from registry.schemas import DatasetIn, DatasetOut, MetricIn, MetricOut, TaskIn, TaskOut

Record = TypeVar("Record", Task, Dataset)

_METRIC = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_TASK = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?")
LONGEST_DATASET = 200


# --- reading -------------------------------------------------------------------------------------


def metrics(session: Session) -> list[MetricOut]:
    rows = session.scalars(select(Metric).order_by(Metric.name))
    return [MetricOut.model_validate(row, from_attributes=True) for row in rows]


def tasks(session: Session) -> list[TaskOut]:
    rows = session.scalars(select(Task).order_by(Task.name))
    return [TaskOut.model_validate(row, from_attributes=True) for row in rows]


def datasets(session: Session) -> list[DatasetOut]:
    rows = session.scalars(select(Dataset).order_by(Dataset.name))
    return [DatasetOut.model_validate(row, from_attributes=True) for row in rows]


def metric(session: Session, name: str) -> Metric:
    """Return the metric of this name or alias. Raises InvalidScore, which names those alike."""
    rows = session.scalars(select(Metric).order_by(Metric.name)).all()
    wanted = names.metric_alias(name)
    for row in rows:
        if wanted == row.name or wanted in row.aliases:
            return row
    known = [row.name for row in rows]
    alike = difflib.get_close_matches(wanted, known, n=3)
    hint = f"did you mean {' or '.join(alike)}?" if alike else f"known are {', '.join(known)}"
    raise InvalidScore(f"there is no metric {name!r}; {hint}")


def dataset_name(session: Session, name: str) -> str:
    """Return how a recorded data set is spelt; what is not recorded keeps its spelling."""
    found = session.scalar(select(Dataset.name).where(func.lower(Dataset.name) == name.lower()))
    return found if found is not None else name


# --- writing -------------------------------------------------------------------------------------


def put_metric(session: Session, name: str, body: MetricIn, account: Account) -> MetricOut:
    """Add a metric, or change what may change. Raises NotAllowed, InvalidScore."""
    if not account.is_operator:
        raise NotAllowed("metrics are added and changed by an operator of the hub")
    _check_metric(session, name, body)
    row = session.get(Metric, name)
    if row is None:
        row = Metric(name=name)
        session.add(row)
    elif _differs(row, body) and _is_used(session, name):
        raise InvalidScore(
            f"{name} has values already, so its direction, unit and bounds are fixed; add another"
        )
    _assign(
        row,
        body.model_dump()
        | {"aliases": sorted({names.metric_alias(each) for each in body.aliases})},
    )
    audit.record(session, account, "metric.put", name)
    session.flush()
    return MetricOut.model_validate(row, from_attributes=True)


def put_task(session: Session, name: str, body: TaskIn, account: Account) -> TaskOut:
    """Add a task, or change one's own. Raises NotAllowed, InvalidScore."""
    if not _TASK.fullmatch(name):
        raise InvalidScore(f"{name!r} cannot name a task: lower-case letters, digits, '-' and '_'")
    usual = None if body.metric is None else metric(session, body.metric).name
    row = _put(session, Task, name, {"title": body.title, "metric": usual}, account)
    return TaskOut.model_validate(row, from_attributes=True)


def put_dataset(session: Session, name: str, body: DatasetIn, account: Account) -> DatasetOut:
    """Add a data set, or change one's own. Raises NotAllowed, InvalidScore."""
    if not _DATASET.fullmatch(name) or len(name) > LONGEST_DATASET:
        raise InvalidScore(f"{name!r} cannot name a data set: such as xcopa or owner/xcopa")
    if (spelt := dataset_name(session, name)) != name:
        raise InvalidScore(f"the data set {spelt} is recorded; names may not differ by case alone")
    if body.task is not None and session.get(Task, body.task) is None:
        raise InvalidScore(f"there is no task {body.task!r}; see 'hubctl records list tasks'")
    row = _put(session, Dataset, name, body.model_dump(), account)
    return DatasetOut.model_validate(row, from_attributes=True)


def _put(
    session: Session, kind: type[Record], name: str, fields: dict[str, Any], account: Account
) -> Record:
    row = session.get(kind, name)
    if row is None:
        row = kind(name=name, added_by_id=account.id)
        session.add(row)
    elif row.added_by_id != account.id and not account.is_operator:
        raise NotAllowed(f"{name} is recorded already; who added it or an operator may change it")
    _assign(row, fields)
    audit.record(session, account, f"{kind.__name__.lower()}.put", name)
    session.flush()
    return row


def _assign(row: Metric | Task | Dataset, fields: dict[str, Any]) -> None:
    for field, value in fields.items():
        setattr(row, field, value)


# --- checks --------------------------------------------------------------------------------------


def _check_metric(session: Session, name: str, body: MetricIn) -> None:
    if not _METRIC.fullmatch(name):
        raise InvalidScore(f"{name!r} cannot name a metric: lower-case letters, digits and '_'")
    if body.lower is not None and body.upper is not None and body.lower >= body.upper:
        raise InvalidScore(f"the bounds {body.lower:g} to {body.upper:g} leave no room")
    for row in session.scalars(select(Metric).where(Metric.name != name)):
        taken = {row.name, *row.aliases} & {
            names.metric_alias(each) for each in (name, *body.aliases)
        }
        if taken:
            raise InvalidScore(f"{min(taken)} means the metric {row.name} already")


def _differs(row: Metric, body: MetricIn) -> bool:
    fixed = ("higher_is_better", "unit", "lower", "upper")
    return any(getattr(row, field) != getattr(body, field) for field in fixed)


def _is_used(session: Session, name: str) -> bool:
    return session.scalar(select(Score.id).where(Score.metric == name).limit(1)) is not None
