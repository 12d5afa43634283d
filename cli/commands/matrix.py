"""`hubctl matrix`."""

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options
from registry.schemas import MatrixCell, MatrixOut

SIGNS = {"resolvable": "✓", "ambiguous": "2+", "near": "~", "missing": "-"}
LEGEND = (
    "✓ or a score: works; 2+: several fit, name one; ~: near match, too little is known; -: nothing"
)


@click.command(
    "matrix",
    cls=HubCommand,
    examples=(
        "hubctl matrix --base xlm-roberta-base",
        "hubctl matrix --base xlm-roberta-base --task acme/copa-xlmr --language qu --why",
    ),
)
@click.option("--base", required=True, metavar="NAME", help="The base model.")
@click.option("--task", "tasks", metavar="OWNER/NAME", multiple=True, help="Only this row.")
@click.option("--language", "languages", metavar="TAG", multiple=True, help="Only this column.")
@click.option("--why", is_flag=True, help="List the reasons, cell by cell.")
@hub_options
def command(
    *,
    base: str,
    tasks: tuple[str, ...],
    languages: tuple[str, ...],
    why: bool,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Show which task adapters of a base work in which languages.

    Each cell is what `hubctl pull --task ... --language ...` would find. --task and --language may
    be repeated.
    """
    with connect(endpoint) as client:
        found = client.matrix(base, tasks=tasks, languages=languages)
    if as_json:
        output.as_json(found.model_dump(mode="json"))
    elif not found.rows:
        output.note(f"No task adapter for {base} is published here, or none of those asked for.")
    elif why:
        _explain(found)
    else:
        rows = [[row.ref, *map(_sign, row.cells)] for row in found.rows]
        output.table(("task adapter", *found.languages), rows)
        output.note(LEGEND)


def _sign(cell: MatrixCell) -> str:
    if not cell.scores:
        return SIGNS[cell.state]
    first = cell.scores[0]
    return f"{first.value:.3g}{'↑' if first.higher_is_better else '↓'}"


def _explain(found: MatrixOut) -> None:
    rows = [
        [row.ref, cell.language, cell.state, cell.pack, _reasons(cell)]
        for row in found.rows
        for cell in row.cells
    ]
    output.table(("task adapter", "language", "state", "language adapter", "why"), rows)


def _reasons(cell: MatrixCell) -> str:
    measured = [
        f"{s.dataset} {s.metric} {s.value:.4g}{'↑' if s.higher_is_better else '↓'}"
        + (f" (n={s.n})" if s.n is not None else "")
        for s in cell.scores
    ]
    return "; ".join([*cell.reasons, *measured])
