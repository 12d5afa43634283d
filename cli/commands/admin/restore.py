"""`hubctl admin restore`."""

from pathlib import Path

import click

from cli import operating, output
from cli.framework import HubCommand


@click.command(
    "restore",
    cls=HubCommand,
    examples=(
        "hubctl admin restore ./backup --data ./new-hub",
        "hubctl admin restore ./backup --check",
    ),
)
@click.argument(
    "source", metavar="FOLDER", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option("--check", is_flag=True, help="Only read the whole backup, and say if it is sound.")
@operating.operator_options
def command(*, source: Path, check: bool, data: Path | None, as_json: bool) -> None:
    """Make a hub from a backup.

    The settings name an empty place: another data folder, database or bucket, and not necessarily
    of the kind the backup was made from. When it is cut, the same can be done again.
    """
    from registry import backup  # noqa: PLC0415  (part of the extra [server])

    if check:
        done = backup.verify(source)
    else:
        with operating.open_hub(data, must_exist=False) as hub:
            done = backup.restore(source, hub.engine, hub.blobs)
    if as_json:
        output.as_json(done.json())
    else:
        operating.show_backup(done)
