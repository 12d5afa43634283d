"""`hubctl visibility`."""

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options
from registry import names


@click.command(
    "visibility",
    cls=HubCommand,
    examples=("hubctl visibility acme/ner private", "hubctl visibility acme/ner public"),
)
@click.argument("name", metavar="NAME")
@click.argument("visibility", type=click.Choice(["public", "private"]))
@hub_options
def command(*, name: str, visibility: str, endpoint: str | None, as_json: bool) -> None:
    """Show an adapter to everybody, or to its owner's members alone.

    To all others a private adapter does not exist: not in a search, a count or a set-up.
    """
    known = names.parse_name(name)
    with connect(endpoint) as client:
        client.set_visibility(known, visibility)
    if as_json:
        output.as_json({"name": known, "visibility": visibility})
    else:
        output.data(f"{known} is {visibility}")
