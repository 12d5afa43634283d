"""`hubctl admin scrub`."""

from dataclasses import asdict
from pathlib import Path

import click

from cli import operating, output
from cli.framework import HubCommand


@click.command(
    "scrub", cls=HubCommand, examples=("hubctl admin scrub", "hubctl admin scrub --quarantine")
)
@click.option(
    "--quarantine",
    is_flag=True,
    help="Move damaged bytes aside, and quarantine the versions that hold damaged or missing ones.",
)
@operating.operator_options
def command(*, quarantine: bool, data: Path | None, as_json: bool) -> None:
    """Read everything that is kept, and name what is damaged.

    Every blob is hashed anew, and every version's files are compared with its manifest. Pushing the
    same files again mends a blob. Ends with 1 if anything is wrong.
    """
    from registry import scrub  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub:
        done = scrub.scrub(hub.engine, hub.blobs, quarantine=quarantine)
    if as_json:
        output.as_json(asdict(done))
    else:
        output.fields(
            [
                ("blobs", f"{done.blobs}, {output.size(done.bytes)}"),
                ("versions", done.versions),
                ("faults", len(done.faults)),
            ]
        )
        if done.faults:
            rows = [(f.kind, f.subject, f.detail, f.versions) for f in done.faults]
            output.table(("fault", "of", "detail", "versions"), rows)
    if done.faults:
        raise SystemExit(1)
