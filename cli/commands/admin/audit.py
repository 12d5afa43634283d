"""`hubctl admin audit`."""

import json
from pathlib import Path

import click

from cli import operating, output
from cli.framework import HubCommand


@click.command(
    "audit",
    cls=HubCommand,
    examples=(
        "hubctl admin audit --limit 20",
        "hubctl admin audit --subject acme/ --action version --json",
    ),
)
@click.option("--actor", metavar="NAME", help="Who did it; `hub` for the hub and its commands.")
@click.option("--action", help="Such as version.publish, or its first part: version, token.")
@click.option("--subject", help="What it was done to, or the beginning of that.")
@click.option("--before", metavar="ID", type=int, help="Go on below this entry.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Entries to show.",
)
@operating.operator_options
def command(
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    before: int | None,
    limit: int,
    data: Path | None,
    as_json: bool,
) -> None:
    """Show who changed what, and when, the newest first.

    Entries are written with the change itself; the database refuses to alter or delete one.
    """
    from registry import audit  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        found = [
            {
                "id": entry.id,
                "at": entry.at.isoformat(timespec="seconds"),
                "actor": entry.actor,
                "action": entry.action,
                "subject": entry.subject,
                "detail": {key: value for key, value in entry.detail.items() if value is not None},
            }
            for entry in audit.entries(
                session, actor=actor, action=action, subject=subject, before=before, limit=limit
            )
        ]
    if as_json:
        output.as_json(found)
        return
    rows = [[*list(entry.values())[:-1], json.dumps(entry["detail"])] for entry in found]
    output.table(("id", "at", "actor", "action", "subject", "detail"), rows)
