"""`hubctl admin user`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import operating, output
from cli.credentials import DEFAULT_ENDPOINT
from cli.framework import HubCommand, WholeLines

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from registry.models import Account
    from registry.settings import Settings


@click.group("user", cls=WholeLines)
def command() -> None:
    """Add, list, invite and disable users."""


@command.command(
    "add",
    cls=HubCommand,
    examples=(
        "hubctl admin user add ana --full-name 'Ana María'",
        "hubctl admin user add root --operator",
    ),
)
@click.argument("name")
@click.option("--full-name", default="", help="What people call the user.")
@click.option("--email", help="Shown to clients of the user alone.")
@click.option("--operator", is_flag=True, help="May do everything, everywhere on the hub.")
@operating.operator_options
def add(
    *,
    name: str,
    full_name: str,
    email: str | None,
    operator: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Add a user, and print the link by which the user chooses a password."""
    from registry import accounts, login  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        user = accounts.create_user(
            session, name, full_name=full_name, email=email, operator=operator
        )
        link = _link(hub.settings, login.invite(session, user))
        name = user.name
    _show_link(f"Added {name}", name, link, as_json=as_json)


@command.command("invite", cls=HubCommand, examples=("hubctl admin user invite ana",))
@click.argument("name")
@operating.operator_options
def invite(*, name: str, data: Path | None, as_json: bool) -> None:
    """Print a link by which a user chooses a new password.

    It works once, within seven days; links printed before end.
    """
    from registry import accounts, login  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        user = accounts.get(session, name, "user")
        link = _link(hub.settings, login.invite(session, user))
    _show_link(f"Invited {name}", name, link, as_json=as_json)


@command.command(
    "list", cls=HubCommand, examples=("hubctl admin user list", "hubctl admin user list --json")
)
@operating.operator_options
def list_(*, data: Path | None, as_json: bool) -> None:
    """List the users of the hub."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        found = [_described(session, *row) for row in accounts.every(session, "user")]
    if as_json:
        output.as_json(found)
        return
    headings = ("name", "full name", "operator", "password", "adapters", "member of", "state")
    output.table(headings, [_row(user) for user in found])


@command.command(
    "disable",
    cls=HubCommand,
    examples=("hubctl admin user disable ana", "hubctl admin user disable ana --undo"),
)
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let the user in again.")
@operating.operator_options
def disable(*, name: str, undo: bool, data: Path | None, as_json: bool) -> None:
    """Let nobody act as this user any more: no token, no password, no session.

    What the user owns and did stays.
    """
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        user = accounts.get(session, name, "user")
        (accounts.enable if undo else accounts.disable)(session, user)
    state = "active" if undo else "disabled"
    if as_json:
        output.as_json({"name": name, "state": state})
    else:
        output.data(f"{name} is {state}")


@command.command(
    "role",
    cls=HubCommand,
    examples=("hubctl admin user role ana operator", "hubctl admin user role ana user"),
)
@click.argument("name")
@click.argument("role", type=click.Choice(["operator", "user"]))
@operating.operator_options
def role_(*, name: str, role: str, data: Path | None, as_json: bool) -> None:
    """Make a user an operator of the hub, or no longer one.

    Roles for an organisation are given by `hubctl admin org add`.
    """
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        accounts.set_operator(session, accounts.get(session, name, "user"), role == "operator")
    if as_json:
        output.as_json({"name": name, "role": role})
    else:
        output.data(f"{name} is {'an operator' if role == 'operator' else 'a user'}")


def _described(session: "Session", user: "Account", adapters: int) -> dict[str, Any]:
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    joined = accounts.organisations(session, user)
    return {
        "name": user.name,
        "full_name": user.full_name,
        "operator": user.is_operator,
        "password": user.password_hash is not None,
        "adapters": adapters,
        "organisations": {organisation.name: role for organisation, role in joined},
        "state": "active" if user.disabled_at is None else "disabled",
        "created_at": user.created_at.isoformat(),
    }


def _row(user: dict[str, Any]) -> list[object]:
    return [
        user["name"],
        user["full_name"],
        "yes" if user["operator"] else "",
        "set" if user["password"] else "none",
        user["adapters"],
        [f"{name} ({role})" for name, role in user["organisations"].items()],
        user["state"],
    ]


def _link(settings: "Settings", code: str) -> str:
    # In the query, which is never logged.
    return f"{(settings.public_url or DEFAULT_ENDPOINT).rstrip('/')}/account/invitation?code={code}"


def _show_link(done: str, name: str, link: str, *, as_json: bool) -> None:
    if as_json:
        output.as_json({"name": name, "invitation": link})
        return
    output.data(done)
    output.fields([("invitation", link)])
    output.note("Give the link to the user, and to nobody else. It works once, within 7 days.")
