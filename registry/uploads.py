"""Bytes that arrive while garbage may be collected (`registry.gc` says how the two get along)."""

from collections.abc import Collection, Iterable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry import revisions
from registry.blobs import BlobStore, StoredBlob
from registry.errors import BlobMissing
from registry.models import Adapter, Blob
from registry.tables import now


def receive(
    session: Session, store: BlobStore, adapter: Adapter, arrived: Iterable[StoredBlob]
) -> None:
    """Note that these durable bytes were sent to this adapter. Raises BlobMissing (`confirm`)."""
    # In one order everywhere: two pushes of the same files would else wait for one another.
    for blob in sorted(arrived, key=lambda blob: blob.sha256):
        revisions.record_upload(session, adapter, blob)
        confirm(store, blob)


def confirm(store: BlobStore, blob: StoredBlob) -> None:
    """Make sure that the bytes are there, now that their row keeps them.

    Raises BlobMissing if garbage collection took them before.
    """
    if not store.exists(blob.sha256):
        raise BlobMissing(f"the bytes of {blob.sha256} were cleared away; send them again")


def renew(session: Session, digests: Collection[str]) -> None:
    """Begin the grace of blobs anew: a client was told that it need not send them."""
    rows = select(Blob.sha256).where(Blob.sha256.in_(digests)).order_by(Blob.sha256)
    locked = session.scalars(rows.with_for_update(key_share=True)).all()
    session.execute(update(Blob).where(Blob.sha256.in_(locked)).values(stored_at=now()))
