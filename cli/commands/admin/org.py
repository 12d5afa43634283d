"""`hubctl admin org`."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from cli import operating, output
from cli.framework import HubCommand, WholeLines

if TYPE_CHECKING:
    from registry.accounts import Role


@click.group("org", cls=WholeLines)
def command() -> None:
    """Create organisations, and say who may do what in their names."""


@command.command("create", cls=HubCommand, examples=("hubctl admin org create lab --admin ana",))
@click.argument("name")
@click.option("--admin", required=True, metavar="USER", help="Its first administrator.")
@click.option("--full-name", default="", help="What people call it.")
@operating.operator_options
def create(*, name: str, admin: str, full_name: str, data: Path | None, as_json: bool) -> None:
    """Create an organisation with its first administrator."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        user = accounts.get(session, admin, "user")
        made = accounts.create_organisation(session, name, admin=user, full_name=full_name)
        name = made.name
    if as_json:
        output.as_json({"name": name, "members": {admin: "admin"}})
    else:
        output.data(f"Created {name}; {admin} administers it")


@command.command("add", cls=HubCommand, examples=("hubctl admin org add lab ben --role write",))
@click.argument("name")
@click.argument("user")
@click.option(
    "--role",
    type=click.Choice(["read", "write", "admin"]),
    default="read",
    show_default=True,
    help="read sees private adapters, write publishes, admin also removes, renames and hides.",
)
@operating.operator_options
def add(*, name: str, user: str, role: str, data: Path | None, as_json: bool) -> None:
    """Give a user a role in an organisation, in place of the one there was."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        organisation = accounts.get(session, name, "organisation")
        member = accounts.get(session, user, "user")
        accounts.add_member(session, organisation, member, cast("Role", role))
    _show_members(name, data, as_json=as_json)


@command.command("remove", cls=HubCommand, examples=("hubctl admin org remove lab ben",))
@click.argument("name")
@click.argument("user")
@operating.operator_options
def remove(*, name: str, user: str, data: Path | None, as_json: bool) -> None:
    """End a user's membership."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        organisation = accounts.get(session, name, "organisation")
        accounts.remove_member(session, organisation, accounts.get(session, user, "user"))
    _show_members(name, data, as_json=as_json)


@command.command("members", cls=HubCommand, examples=("hubctl admin org members lab",))
@click.argument("name")
@operating.operator_options
def members(*, name: str, data: Path | None, as_json: bool) -> None:
    """List the members of an organisation."""
    _show_members(name, data, as_json=as_json)


@command.command("list", cls=HubCommand, examples=("hubctl admin org list",))
@operating.operator_options
def list_(*, data: Path | None, as_json: bool) -> None:
    """List the organisations of the hub."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        found = [
            {
                "name": organisation.name,
                "full_name": organisation.full_name,
                "members": len(accounts.members(session, organisation)),
                "adapters": adapters,
            }
            for organisation, adapters in accounts.every(session, "organisation")
        ]
    if as_json:
        output.as_json(found)
    elif found:
        output.table(list(found[0]), [list(each.values()) for each in found])
    else:
        output.note("There are no organisations; `hubctl admin org create` makes one.")


def _show_members(name: str, data: Path | None, *, as_json: bool) -> None:
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        organisation = accounts.get(session, name, "organisation")
        found = {user.name: role for user, role in accounts.members(session, organisation)}
    if as_json:
        output.as_json({"name": name, "members": found})
    else:
        output.table(("member", "role"), list(found.items()))
