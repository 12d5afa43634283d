"""`hubctl audit`."""

import json

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options


@click.command(
    "audit",
    cls=HubCommand,
    examples=("hubctl audit", "hubctl audit lab --action version --limit 20"),
)
@click.argument("owner", required=False)
@click.option("--action", help="Such as version.publish, or its first part: version, token.")
@click.option("--before", metavar="ID", type=int, help="Go on below this entry.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000),
    default=50,
    show_default=True,
    help="Entries to show.",
)
@hub_options
def command(
    *,
    owner: str | None,
    action: str | None,
    before: int | None,
    limit: int,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Show who changed what of yours, or of an organisation of yours."""
    with connect(endpoint) as client:
        found = client.audit(owner, action=action, before=before, limit=limit)
    if as_json:
        output.as_json([entry.model_dump(mode="json") for entry in found])
        return
    rows = [
        [
            each.id,
            f"{each.at:%Y-%m-%d %H:%M:%S}",
            each.actor,
            each.action,
            each.subject,
            _said(each.detail),
        ]
        for each in found
    ]
    output.table(("id", "at", "actor", "action", "subject", "detail"), rows)


def _said(detail: dict[str, object]) -> str:
    return json.dumps({key: value for key, value in detail.items() if value is not None})
