"""`hubctl admin import-adapterhub`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import operating, output
from cli.failures import Failure
from cli.framework import HubCommand

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from registry.models import Account


@click.command(
    "import-adapterhub",
    cls=HubCommand,
    examples=(
        "hubctl admin import-adapterhub ./Hub",
        "hubctl admin import-adapterhub ./Hub --dry-run --details",
    ),
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--as", "operator", metavar="USER", help="The operator who reports the scores.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--details", is_flag=True, help="List every cleaning, not only how many there were.")
@operating.operator_options
def command(
    *,
    folder: Path,
    operator: str | None,
    dry_run: bool,
    details: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Read AdapterHub's cards as external adapters.

    FOLDER is a checkout of AdapterHub's repository of cards. Its adapters are then found and read
    about under the owner `adapterhub`, with their scores; their weights stay where they are, and
    nothing resolves to them. Again with a newer checkout it brings them up to date.
    """
    from registry import adapterhub_cards, importing  # noqa: PLC0415  (part of [server])

    checkout = adapterhub_cards.read(folder)
    with operating.open_hub(data) as hub, hub.sessions() as session:
        account = _operator(session, operator)
        done = importing.import_checkout(session, checkout, account)
        if dry_run:
            session.rollback()
        else:
            session.commit()
    notes = [(each.card, each.kind, each.text) for each in checkout.cleanings] + done.notes
    if as_json:
        cleaned = [{"card": card, "kind": kind, "text": text} for card, kind, text in notes]
        counts = dict(done.counts)
        output.as_json({"counts": counts, "cleaned": cleaned, "ambiguous": checkout.ambiguous})
        return
    output.fields(sorted(done.counts.items()))
    _show(notes, checkout.ambiguous, details=details)


def _operator(session: "Session", name: str | None) -> "Account":
    from sqlalchemy import select  # noqa: PLC0415  (part of [server])

    from registry import accounts  # noqa: PLC0415  (as above)
    from registry.models import Account  # noqa: PLC0415  (as above)

    if name is not None:
        return accounts.get(session, name, "user")
    found = session.scalar(select(Account).where(Account.is_operator).order_by(Account.id).limit(1))
    if found is None:
        raise Failure(
            "this hub has no operator", hint="make one: hubctl admin user create NAME --operator"
        )
    return found


def _show(notes: list[tuple[str, str, str]], ambiguous: dict[str, int], *, details: bool) -> None:
    output.data("\nCleaned")
    if details:
        output.table(("what", "card", "how"), [[kind, card, text] for card, kind, text in notes])
    else:
        counts = Counter(kind for _, kind, _ in notes)
        output.fields(sorted(counts.items()), indent=2)
    if ambiguous:
        said = ", ".join(f"{name} ({count} tasks)" for name, count in ambiguous.items())
        output.note(f"Names of subtasks that mean several: {said}")
