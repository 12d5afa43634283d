"""Metrics, tasks and data sets over HTTP."""

from fastapi import APIRouter

from registry import accounts, records
from registry.schemas import DatasetIn, DatasetOut, MetricIn, MetricOut, TaskIn, TaskOut
from web.deps import DatabaseSession, RequiredCaller

router = APIRouter(prefix="/api/v1", tags=["scores"])


@router.get("/metrics")
def list_metrics(session: DatabaseSession) -> list[MetricOut]:
    """List the metrics a score may be of, with direction, unit and bounds."""
    return records.metrics(session)


@router.put("/metrics/{name}")
def put_metric(
    name: str, body: MetricIn, session: DatabaseSession, caller: RequiredCaller
) -> MetricOut:
    """Add a metric, or change it while it has no values. For operators."""
    accounts.require_owner(session, caller, caller.account, "admin", subject="metrics")
    return records.put_metric(session, name, body, caller.account)


@router.get("/tasks")
def list_tasks(session: DatabaseSession) -> list[TaskOut]:
    """List the tasks that are recorded, each with its usual metric."""
    return records.tasks(session)


@router.put("/tasks/{name}")
def put_task(name: str, body: TaskIn, session: DatabaseSession, caller: RequiredCaller) -> TaskOut:
    """Add a task, or change one that the caller added."""
    accounts.require_owner(session, caller, caller.account, "write", subject="tasks")
    return records.put_task(session, name, body, caller.account)


@router.get("/datasets")
def list_datasets(session: DatabaseSession) -> list[DatasetOut]:
    """List the data sets that are recorded. Scores may be of others, too."""
    return records.datasets(session)


@router.put("/datasets/{name:path}")
def put_dataset(
    name: str, body: DatasetIn, session: DatabaseSession, caller: RequiredCaller
) -> DatasetOut:
    """Add a data set, or change one that the caller added."""
    accounts.require_owner(session, caller, caller.account, "write", subject="data sets")
    return records.put_dataset(session, name, body, caller.account)
