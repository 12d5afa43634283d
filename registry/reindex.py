"""What the search index says, written anew from what is published."""

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from registry import db, revisions, search
from registry.blobs import BlobStore
from registry.errors import BlobMissing
from registry.manifest import CARD, LARGEST_CARD
from registry.models import Adapter, Revision

BATCH = 100


def card_text(blobs: BlobStore, revision: Revision) -> str:
    """Return the card, or nothing when there is none of a sensible size."""
    file = next((file for file in revision.files if file.path == CARD), None)
    if file is None or file.blob.size > LARGEST_CARD:
        return ""
    return blobs.read(file.sha256).decode(errors="replace")


def reindex(engine: Engine, blobs: BlobStore) -> int:
    """Write every adapter's search row anew, beside a running hub; return how many."""
    sessions, done, last = db.sessions(engine), 0, 0
    while True:
        with sessions.begin() as session:
            after = select(Adapter).where(Adapter.id > last).order_by(Adapter.id).limit(BATCH)
            batch = session.scalars(after).all()
            for adapter in batch:
                search.index_adapter(session, adapter, card=current_card(session, blobs, adapter))
        if not batch:
            return done
        done, last = done + len(batch), batch[-1].id


def current_card(session: Session, blobs: BlobStore, adapter: Adapter) -> str | None:
    """Return the card that describes the adapter: its newest version's, else that of main.

    None when its bytes are lost: the words of the index then stay as they are.
    """
    version = search.newest_version(session, adapter.id)
    if version is None:
        revision = revisions.branch_head(session, adapter, revisions.MAIN)
    else:
        revision = session.get_one(Revision, (adapter.id, version.revision_id))
    try:
        return card_text(blobs, revision) if revision is not None else None
    except BlobMissing:
        return None
