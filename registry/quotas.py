"""How much one owner may keep here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import func, select, union
from sqlalchemy.orm import Session

from registry import accounts
from registry.errors import QuotaExceeded
from registry.models import Account, Adapter, Blob, RevisionFile, Upload


@dataclass(frozen=True)
class Quotas:
    """Bounds for one owner, by setting; None is no bound."""

    bytes: int | None = None
    adapters: int | None = None


@dataclass(frozen=True)
class Usage:
    """What an owner has here. Equal bytes count once, however many files hold them."""

    bytes: int
    adapters: int


def usage(session: Session, owner: Account) -> Usage:
    own = select(Adapter.id).where(Adapter.owner_id == owner.id, Adapter.removed_at.is_(None))
    held = union(
        select(RevisionFile.sha256).where(RevisionFile.adapter_id.in_(own)),
        select(Upload.sha256).where(Upload.adapter_id.in_(own)),
    ).subquery()
    size = select(func.coalesce(func.sum(Blob.size), 0)).join(held, held.c.sha256 == Blob.sha256)
    count = select(func.count()).select_from(own.subquery())
    return Usage(int(session.scalar(size) or 0), session.scalar(count) or 0)


@contextmanager
def enforced(session: Session, owner: Account, quotas: Quotas) -> Iterator[None]:
    """Hold an owner to the quotas over what the block writes; what adds nothing always passes.

    Raises QuotaExceeded at the end of the block; the caller rolls back. Writers of one owner take
    turns, so that two cannot each fill what is left.
    """
    if quotas == Quotas():
        yield
        return
    accounts.lock(session, owner)
    before = usage(session, owner)
    yield
    session.flush()
    after = usage(session, owner)
    if quotas.bytes is not None and after.bytes > max(quotas.bytes, before.bytes):
        raise _full(owner, after.bytes, quotas.bytes, "bytes")
    if quotas.adapters is not None and after.adapters > max(quotas.adapters, before.adapters):
        raise _full(owner, after.adapters, quotas.adapters, "adapters")


def check_room(session: Session, owner: Account, quotas: Quotas, more: int) -> None:
    """Refuse bytes before they are sent. Raises QuotaExceeded."""
    if quotas.bytes is None or more == 0:
        return
    wanted = usage(session, owner).bytes + more
    if wanted > quotas.bytes:
        raise _full(owner, wanted, quotas.bytes, "bytes")


def _full(owner: Account, wanted: int, allowed: int, unit: str) -> QuotaExceeded:
    return QuotaExceeded(f"{owner.name} would have {wanted:,} {unit} here; {allowed:,} are allowed")
