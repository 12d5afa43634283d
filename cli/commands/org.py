"""`hubctl org`."""

from typing import Literal, cast

import click

from cli import output
from cli.framework import HubCommand, WholeLines, connect, hub_options
from registry.schemas import MemberIn, MemberOut


@click.group("org", cls=WholeLines)
def command() -> None:
    """Show and choose the members of an organisation."""


@command.command("members", cls=HubCommand, examples=("hubctl org members lab",))
@click.argument("name")
@hub_options
def members(*, name: str, endpoint: str | None, as_json: bool) -> None:
    """List the members of an organisation you are in."""
    with connect(endpoint) as client:
        _show(client.members(name), as_json=as_json)


@command.command("add", cls=HubCommand, examples=("hubctl org add lab ben --role write",))
@click.argument("name")
@click.argument("user")
@click.option(
    "--role",
    type=click.Choice(["read", "write", "admin"]),
    default="read",
    show_default=True,
    help="read sees private adapters, write publishes, admin also removes, renames and hides.",
)
@hub_options
def add(*, name: str, user: str, role: str, endpoint: str | None, as_json: bool) -> None:
    """Give a user a role in an organisation that you administer, in place of the one there was."""
    body = MemberIn(role=cast("Literal['read', 'write', 'admin']", role))
    with connect(endpoint) as client:
        _show(client.set_member(name, user, body), as_json=as_json)


@command.command("remove", cls=HubCommand, examples=("hubctl org remove lab ben",))
@click.argument("name")
@click.argument("user")
@hub_options
def remove(*, name: str, user: str, endpoint: str | None, as_json: bool) -> None:
    """End a user's membership; with your own name, leave."""
    with connect(endpoint) as client:
        _show(client.remove_member(name, user), as_json=as_json)


def _show(found: list[MemberOut], *, as_json: bool) -> None:
    if as_json:
        output.as_json([member.model_dump() for member in found])
    else:
        output.table(("member", "role"), [[member.name, member.role] for member in found])
