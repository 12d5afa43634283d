"""`hubctl admin migrate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import operating, output
from cli.failures import Failure
from cli.framework import HubCommand

if TYPE_CHECKING:
    from sqlalchemy import Engine


@click.command(
    "migrate",
    cls=HubCommand,
    examples=("hubctl admin migrate", "hubctl admin migrate --check --json"),
)
@click.option("--check", is_flag=True, help="Change nothing; end with 1 unless it is up to date.")
@click.option(
    "--to",
    metavar="REVISION",
    default="head",
    show_default=True,
    help="Go up or down to this one instead. Going down loses what newer ones hold.",
)
@operating.operator_options
def command(*, check: bool, to: str, data: Path | None, as_json: bool) -> None:
    """Bring the database to the schema of this release.

    `hubctl serve` does it by itself unless HUB_MIGRATE_ON_START is off. Everything happens in one
    transaction: a migration that fails changes nothing.
    """
    from registry import db  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data, must_be_current=False) as hub:
        before = db.revision(hub.engine)
        if not check:
            _migrate(hub.engine, to)
        after, head = db.revision(hub.engine), db.head()
    if as_json:
        output.as_json({"before": before, "revision": after, "head": head})
    else:
        output.fields([("schema", after or "empty"), ("before", before), ("newest", head)])
    if check and after != head:
        raise SystemExit(1)


def _migrate(engine: "Engine", target: str) -> None:
    from alembic.util import CommandError  # noqa: PLC0415  (part of the extra [server])

    from registry import db  # noqa: PLC0415  (as above)

    try:
        db.migrate(engine, target)
    except CommandError as error:
        raise Failure(f"cannot go to {target!r}: {error}") from error
