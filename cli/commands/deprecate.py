"""`hubctl deprecate`."""

import click

from cli import states
from cli.framework import HubCommand, hub_options
from registry.schemas import State


@click.command(
    "deprecate",
    cls=HubCommand,
    examples=(
        "hubctl deprecate acme/ner@1.0.0 --successor acme/ner@2.0.0",
        "hubctl deprecate acme/ner@1.0.0 --reason 'labels were shifted'",
        "hubctl deprecate acme/ner@1.0.0 --undo",
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
    """Advise against a version, and name its successor.

    REF is OWNER/NAME@NUMBER. The version still resolves, with a warning.
    """
    state: State = "live" if undo else "deprecated"
    states.move(ref, state, endpoint, as_json=as_json, successor=successor, reason=reason)
