"""`hubctl records`."""

from collections.abc import Sequence

import click
from pydantic import BaseModel

from cli import output
from cli.framework import HubCommand, WholeLines, connect, hub_options
from registry.schemas import DatasetIn, MetricIn, MetricOut, TaskIn


@click.group("records", cls=WholeLines)
def command() -> None:
    """Show or add the metrics, tasks and data sets of scores."""


@command.command(
    "list",
    cls=HubCommand,
    examples=("hubctl records list metrics", "hubctl records list datasets --json"),
)
@click.argument("kind", type=click.Choice(["metrics", "tasks", "datasets"]))
@hub_options
def list_(*, kind: str, endpoint: str | None, as_json: bool) -> None:
    """List what is recorded. Scores may be of other data sets, too."""
    with connect(endpoint) as client:
        metrics = client.metrics() if kind == "metrics" else []
        others: Sequence[BaseModel] = (
            client.tasks() if kind == "tasks" else client.datasets() if kind == "datasets" else []
        )
    if as_json:
        output.as_json([row.model_dump(mode="json") for row in [*metrics, *others]])
    elif metrics:
        headings = ("name", "title", "better", "unit", "from", "to", "also called")
        output.table(headings, [_metric(row) for row in metrics])
    elif others:
        rows = [row.model_dump() for row in others]
        output.table(tuple(rows[0]), [list(row.values()) for row in rows])


def _metric(row: MetricOut) -> list[object]:
    better = "↑ higher" if row.higher_is_better else "↓ lower"
    return [row.name, row.title, better, row.unit, row.lower, row.upper, row.aliases]


@command.command(
    "metric",
    cls=HubCommand,
    examples=(
        'hubctl records metric ter --title "Translation edit rate" --lower-is-better --lower 0',
    ),
)
@click.argument("name")
@click.option("--title", required=True, help="What people call it.")
@click.option(
    "--higher-is-better/--lower-is-better", default=True, show_default=True, help="Its direction."
)
@click.option("--unit", default="fraction", show_default=True, help="What its values count.")
@click.option("--lower", type=float, help="The least possible value.")
@click.option("--upper", type=float, help="The greatest possible value.")
@click.option("--alias", "aliases", multiple=True, help="Another name. May be repeated.")
@hub_options
def metric(
    *,
    name: str,
    title: str,
    higher_is_better: bool,
    unit: str,
    lower: float | None,
    upper: float | None,
    aliases: tuple[str, ...],
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Add a metric, or change it while it has no values. For operators."""
    body = MetricIn(
        title=title,
        higher_is_better=higher_is_better,
        unit=unit,
        lower=lower,
        upper=upper,
        aliases=aliases,
    )
    with connect(endpoint) as client:
        _show(client.put_metric(name, body), as_json=as_json)


@command.command(
    "task",
    cls=HubCommand,
    examples=("hubctl records task stance --title 'Stance detection' --metric f1_macro",),
)
@click.argument("name")
@click.option("--title", required=True, help="What people call it.")
@click.option("--metric", "usual", help="By which it is usually measured.")
@hub_options
def task(*, name: str, title: str, usual: str | None, endpoint: str | None, as_json: bool) -> None:
    """Add a task, or change one that you added."""
    with connect(endpoint) as client:
        _show(client.put_task(name, TaskIn(title=title, metric=usual)), as_json=as_json)


@command.command(
    "dataset",
    cls=HubCommand,
    examples=("hubctl records dataset masakhanews --title MasakhaNEWS --task text-classification",),
)
@click.argument("name")
@click.option("--title", required=True, help="What people call it.")
@click.option("--task", "of", help="The task it is for; see `records list tasks`.")
@click.option("--url", help="Where it is described.")
@hub_options
def dataset(
    *,
    name: str,
    title: str,
    of: str | None,
    url: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Add a data set, or change one that you added."""
    with connect(endpoint) as client:
        body = DatasetIn(title=title, task=of, url=url)
        _show(client.put_dataset(name, body), as_json=as_json)


def _show(row: BaseModel, *, as_json: bool) -> None:
    if as_json:
        output.as_json(row.model_dump(mode="json"))
    else:
        output.fields(list(row.model_dump().items()))
