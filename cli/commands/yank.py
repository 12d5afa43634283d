"""`hubctl yank`."""

import click

from cli import states
from cli.framework import HubCommand, hub_options
from registry.schemas import State


@click.command(
    "yank",
    cls=HubCommand,
    examples=(
        "hubctl yank acme/ner@1.1.0 --reason 'trained on the test split'",
        "hubctl yank acme/ner@1.1.0 --undo",
    ),
)
@click.argument("ref", metavar="REF")
@click.option("--successor", metavar="REF", help="What to use instead.")
@click.option("--reason", help="Why, in a sentence that others see.")
@click.option("--undo", is_flag=True, help="Make it a live version again.")
@hub_options
def command(
    *,
    ref: str,
    successor: str | None,
    reason: str | None,
    undo: bool,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Keep a version from being chosen anew.

    REF is OWNER/NAME@NUMBER. Locks that pin the version still load; nothing new resolves to it.
    """
    state: State = "live" if undo else "yanked"
    states.move(ref, state, endpoint, as_json=as_json, successor=successor, reason=reason)
