"""Who did what, when. An entry is written in the transaction of the act it describes.

The database refuses to change or delete an entry (migration 0004).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.models import Account, AuditEntry


def record(
    session: Session, actor: Account | None, action: str, subject: str, **detail: Any
) -> None:
    """Note an act; without an actor it was the hub itself. `detail` must fit into JSON."""
    name = actor.name if actor is not None else "hub"
    session.add(AuditEntry(actor=name, action=action, subject=subject[:200], detail=detail))


def entries(
    session: Session,
    *,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    owner: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[AuditEntry]:
    """Return entries, the newest first.

    `action` may be the first part of one (`token`), `subject` the beginning of one (`acme/`);
    `owner` is who did it, or to whom or to whose adapters it was done; `before` is the id of the
    last entry of the page before.
    """
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if actor is not None:
        query = query.where(AuditEntry.actor == actor)
    if action is not None:
        query = query.where(
            (AuditEntry.action == action)
            | AuditEntry.action.startswith(f"{action}.", autoescape=True)
        )
    if subject is not None:
        query = query.where(AuditEntry.subject.startswith(subject, autoescape=True))
    if owner is not None:
        theirs = AuditEntry.subject.startswith(f"{owner}/", autoescape=True)
        query = query.where(theirs | (AuditEntry.subject == owner) | (AuditEntry.actor == owner))
    if before is not None:
        query = query.where(AuditEntry.id < before)
    return session.scalars(query).all()
