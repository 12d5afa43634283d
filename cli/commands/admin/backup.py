"""`hubctl admin backup`."""

from pathlib import Path

import click

from cli import operating, output
from cli.framework import HubCommand


@click.command(
    "backup",
    cls=HubCommand,
    examples=("hubctl admin backup ./backup", "hubctl admin backup ./backup --data ./hub --json"),
)
@click.argument("target", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@operating.operator_options
def command(*, target: Path, data: Path | None, as_json: bool) -> None:
    """Copy everything a hub holds into a folder.

    The hub may go on running and publishing; what the backup holds is one state of it. A second
    backup into the same folder takes the place of the first, and copies only what is new. It holds
    private adapters and hashed tokens: keep it as safe as the hub. HUB_SECRET is not in it.
    """
    from registry import backup  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub:
        done = backup.back_up(hub.engine, hub.blobs, target)
    if as_json:
        output.as_json(done.json())
    else:
        operating.show_backup(done)
