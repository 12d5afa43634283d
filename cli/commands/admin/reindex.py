"""`hubctl admin reindex`."""

from pathlib import Path

import click

from cli import operating, output
from cli.framework import HubCommand


@click.command(
    "reindex", cls=HubCommand, examples=("hubctl admin reindex", "hubctl admin reindex --json")
)
@operating.operator_options
def command(*, data: Path | None, as_json: bool) -> None:
    """Write the search index anew.

    Needed only when a release says so, or after the database was changed by hand. The hub may go on
    running.
    """
    from registry import reindex  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub:
        count = reindex.reindex(hub.engine, hub.blobs)
    if as_json:
        output.as_json({"adapters": count})
    else:
        output.data(f"Indexed {output.plural(count, 'adapter')}")
