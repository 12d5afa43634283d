"""`hubctl rename`."""

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options
from registry import names


@click.command(
    "rename",
    cls=HubCommand,
    examples=("hubctl rename acme/ner acme/ner-xlmr", "hubctl rename ana/ner acme/ner"),
)
@click.argument("name", metavar="NAME")
@click.argument("new_name", metavar="NEW_NAME")
@hub_options
def command(*, name: str, new_name: str, endpoint: str | None, as_json: bool) -> None:
    """Give an adapter another name, or another owner.

    The old name leads to it for ever: references, locks and clients that use it go on working.
    """
    before, after = names.parse_name(name), names.parse_name(new_name)
    with connect(endpoint) as client:
        client.rename(before, after)
    if as_json:
        output.as_json({"before": before, "name": after})
    else:
        output.data(f"{before} is {after} now; the old name leads to it")
