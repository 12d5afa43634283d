"""`hubctl admin gc`."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import click

from cli import operating, output
from cli.framework import HubCommand


@click.command(
    "gc", cls=HubCommand, examples=("hubctl admin gc", "hubctl admin gc --grace-hours 72 --json")
)
@click.option(
    "--grace-hours",
    type=click.FloatRange(min=0),
    default=24,
    show_default=True,
    help="Leave what is younger: longer than any push may take.",
)
@operating.operator_options
def command(*, grace_hours: float, data: Path | None, as_json: bool) -> None:
    """Remove what cut and refused pushes left behind.

    Those are pushes without a version, bytes to which nothing refers, drafts and parts. The hub may
    go on running. Nothing that a branch, tag or version of an adapter holds is ever touched.
    """
    from registry import gc  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub:
        done = gc.collect(hub.engine, hub.blobs, timedelta(hours=grace_hours))
    if as_json:
        output.as_json(asdict(done))
        return
    output.fields(
        [
            ("unfinished pushes", done.branches),
            ("unused blobs", done.blobs),
            ("files removed", f"{done.files}, {output.size(done.bytes)}"),
            ("drafts and parts", done.leftovers),
        ]
    )
