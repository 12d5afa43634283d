"""`hubctl remove`."""

import sys

import click

from cli import output, states
from cli.failures import Failure
from cli.framework import HubCommand, connect, hub_options
from registry import names
from registry.names import Latest


@click.command(
    "remove",
    cls=HubCommand,
    examples=("hubctl remove acme/ner@1.1.0 --yes", "hubctl remove acme/ner --yes"),
)
@click.argument("ref", metavar="REF")
@click.option("--reason", help="Why, in a sentence that others see; for a version.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@hub_options
def command(
    *, ref: str, reason: str | None, yes: bool, endpoint: str | None, as_json: bool
) -> None:
    """Withdraw a version, or a whole adapter, for good.

    Locks that pin it no longer load. The number, and the name, stay taken for ever. `hubctl yank`
    is usually what you want.
    """
    reference = names.parse_reference(ref)
    whole = isinstance(reference.selector, Latest) and "@" not in ref
    what = f"the adapter {reference.name} with all its versions" if whole else ref
    if not yes:
        _ask(what)
    if not whole:
        states.move(ref, "removed", endpoint, as_json=as_json, reason=reason)
        return
    with connect(endpoint) as client:
        client.remove(reference.name)
    if as_json:
        output.as_json({"removed": reference.name})
    else:
        output.data(f"Removed {reference.name}; its name stays taken")


def _ask(what: str) -> None:
    if not sys.stdin.isatty():
        raise Failure(f"this withdraws {what} for good", hint="say --yes to do it")
    click.confirm(f"Withdraw {what} for good?", abort=True, err=True)
