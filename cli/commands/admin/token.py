"""`hubctl admin token`."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from cli import operating, output
from cli.failures import Failure
from cli.framework import HubCommand, WholeLines

if TYPE_CHECKING:
    from registry.accounts import Role


@click.group("token", cls=WholeLines)
def command() -> None:
    """Create, list and revoke tokens of any user."""


@command.command(
    "create",
    cls=HubCommand,
    examples=(
        "hubctl admin token create ana --role write",
        "hubctl admin token create ci --role read --days 365 --label 'nightly build'",
    ),
)
@click.argument("name")
@click.option("--label", default="made by an operator", show_default=True, help="What it is for.")
@click.option(
    "--role",
    type=click.Choice(["read", "write", "admin"]),
    default="write",
    show_default=True,
    help="The most that the token may do, whatever its user may.",
)
@click.option(
    "--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="Until it expires."
)
@operating.operator_options
def create(
    *, name: str, label: str, role: str, days: int, data: Path | None, as_json: bool
) -> None:
    """Make a token for a user, and print it: the only time it can be seen."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        user = accounts.get(session, name, "user")
        token = accounts.create_token(
            session, user, label, cast("Role", role), timedelta(days=days)
        )
    if as_json:
        output.as_json({"account": name, "token": token, "role": role, "days": days})
    else:
        output.data(token)
        output.note(f"{name} may {role} with it for {output.plural(days, 'day')}.")


@command.command("list", cls=HubCommand, examples=("hubctl admin token list ana",))
@click.argument("name")
@operating.operator_options
def list_(*, name: str, data: Path | None, as_json: bool) -> None:
    """List the tokens and browser sessions of a user; the tokens themselves are not known here."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        found = [
            {
                "id": token.id,
                "label": token.label,
                "purpose": token.purpose,
                "role": token.role,
                "created": f"{token.created_at:%Y-%m-%d}",
                "expires": f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never",
            }
            for token in accounts.tokens(session, accounts.get(session, name, "user"))
        ]
    if as_json:
        output.as_json(found)
    elif found:
        output.table(list(found[0]), [list(token.values()) for token in found])
    else:
        output.note(f"{name} has no token.")


@command.command("revoke", cls=HubCommand, examples=("hubctl admin token revoke 17",))
@click.argument("number", metavar="ID", type=int)
@operating.operator_options
def revoke(*, number: int, data: Path | None, as_json: bool) -> None:
    """End a token, at once. `hubctl admin token list` shows the ids."""
    from registry import accounts  # noqa: PLC0415  (part of the extra [server])
    from registry.models import Token  # noqa: PLC0415  (as above)

    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        token = session.get(Token, number)
        if token is None:
            raise Failure(f"there is no token {number}", hint="hubctl admin token list NAME")
        accounts.revoke(session, token, None)
        owner, label = token.account.name, token.label
    if as_json:
        output.as_json({"id": number, "account": owner, "label": label})
    else:
        output.data(f"Revoked {label!r} of {owner}")
