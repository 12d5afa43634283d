"""Who did what, when. An entry is written in the transaction of the act it describes."""

from typing import Any

from sqlalchemy.orm import Session

from registry.models import Account, AuditEntry


def record(
    session: Session, actor: Account | None, action: str, subject: str, **detail: Any
) -> None:
    """Note an act; without an actor it was the hub itself. `detail` must fit into JSON."""
    name = actor.name if actor is not None else "hub"
    session.add(AuditEntry(actor=name, action=action, subject=subject[:200], detail=detail))
