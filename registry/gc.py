"""Garbage collection: remove, beside a running hub, what cut and refused pushes left behind.

What is younger than the grace stays, for it may belong to a push that goes on. The grace makes
pushes that overlap with a collection succeed; that nothing is lost does not depend on it:

- A branch `incoming/...` goes under the lock of its adapter, under which publishing looks again.
- A blob's row goes while it is locked and no file refers to it. A commit holds the rows it refers
  to; it either finds the row and keeps it, or does not find it and asks for the bytes.
- Bytes go only while this transaction holds the place of their row, and there is none. An upload
  waits for that place, and then looks whether its bytes are still there (`uploads.receive`).

So a row always has its bytes, whenever the collector or the server is killed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Column, ColumnElement, Engine, Select, and_, delete, exists, select
from sqlalchemy.orm import Session

from registry import db, revisions
from registry.blobs import BlobStore, Entry
from registry.models import Adapter, Base, Blob, Manifest, Ref, Revision, RevisionFile, Upload
from registry.tables import now

GRACE = timedelta(days=1)
"""Longer than any push takes, from its first byte to its version."""
BATCH = 500


@dataclass
class Collected:
    """What was removed."""

    branches: int = 0
    """Pushes that were cut or refused, with their revisions."""
    blobs: int = 0
    """Rows of blobs to which nothing referred."""
    files: int = 0
    """Bytes without a row: of those blobs, and of uploads that were cut before they had one."""
    bytes: int = 0
    leftovers: int = 0
    """Drafts and parts."""


def collect(engine: Engine, blobs: BlobStore, grace: timedelta = GRACE) -> Collected:
    """Remove everything abandoned that is older than the grace; many small transactions."""
    with db.alone(engine):
        collector = _Collector(db.sessions(engine), db.reading_sessions(engine), now() - grace)
        done = Collected(branches=collector.branches(), blobs=collector.rows())
        for entry in collector.without_row(blobs):
            if collector.remove_bytes(blobs, entry):
                done.files += 1
                done.bytes += entry.size
        done.leftovers = blobs.sweep(collector.cutoff)
        return done


@dataclass(frozen=True)
class _Collector:
    sessions: db.Sessions
    reading: db.Sessions
    cutoff: datetime

    # --- pushes that did not end in a version ---

    def branches(self) -> int:
        incoming = (
            select(Ref.adapter_id, Ref.name)
            .join(
                Revision,
                and_(Revision.adapter_id == Ref.adapter_id, Revision.id == Ref.revision_id),
            )
            .where(Ref.name.startswith(revisions.INCOMING), Revision.created_at < self.cutoff)
        )
        with self.reading.begin() as session:
            found = session.execute(incoming).all()
        return sum(self._branch(adapter_id, name) for adapter_id, name in found)

    def _branch(self, adapter_id: int, name: str) -> bool:
        with self.sessions.begin() as session:
            adapter = session.get_one(Adapter, adapter_id)
            revisions.lock(session, adapter)
            head = revisions.branch_head(session, adapter, name)
            if head is None or head.created_at >= self.cutoff:
                return False
            session.execute(delete(Ref).where(Ref.adapter_id == adapter_id, Ref.name == name))
            if not _is_needed(session, head):
                session.execute(delete(RevisionFile).where(*_of(RevisionFile, head)))
                session.delete(head)
            return True

    # --- rows ---

    def rows(self) -> int:
        with self.reading.begin() as session:
            found = session.scalars(self._abandoned()).all()
        return sum(map(self._row, found))

    def _row(self, sha256: str) -> bool:
        with self.sessions.begin() as session:
            session.execute(select(Blob.sha256).where(Blob.sha256 == sha256).with_for_update())
            # Asked under the lock, for somebody may have referred to it before.
            if session.scalar(self._abandoned().where(Blob.sha256 == sha256)) is None:
                return False
            session.execute(delete(Upload).where(Upload.sha256 == sha256))
            session.execute(delete(Blob).where(Blob.sha256 == sha256))
            return True

    def _abandoned(self) -> Select[str]:
        unused = (~exists().where(column == Blob.sha256) for column in _references())
        return select(Blob.sha256).where(Blob.stored_at < self.cutoff, *unused)

    # --- bytes ---

    def without_row(self, blobs: BlobStore) -> Iterator[Entry]:
        old = (entry for entry in blobs.entries() if entry.modified_at < self.cutoff)
        while batch := list(islice(old, BATCH)):
            digests = [entry.sha256 for entry in batch]
            with self.reading.begin() as session:
                known = set(session.scalars(select(Blob.sha256).where(Blob.sha256.in_(digests))))
            yield from (entry for entry in batch if entry.sha256 not in known)

    def remove_bytes(self, blobs: BlobStore, entry: Entry) -> bool:
        row = {"sha256": entry.sha256, "size": entry.size, "git_sha1": "", "seen": ""}
        with self.sessions() as session:  # rolled back at its end: the row only keeps others out
            took = db.insert_new(session, Blob, **row, stored_at=now())
            if took:
                blobs.delete(entry.sha256)
        return took


def _references() -> list[Column[str]]:
    """Return every column that keeps a blob: those that refer to one, but for who sent it."""
    return [
        key.parent
        for table in Base.metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table.name == Blob.__tablename__ and table.name != Upload.__tablename__
    ]


def _of(
    model: type[Ref | Manifest | RevisionFile], revision: Revision
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return model.adapter_id == revision.adapter_id, model.revision_id == revision.id


def _is_needed(session: Session, revision: Revision) -> bool:
    """Whether a branch, tag, version or later revision refers to it."""
    later = (Revision.adapter_id == revision.adapter_id, Revision.parent_id == revision.id)
    referring = (
        select(Ref.name).where(*_of(Ref, revision)),
        select(Manifest.digest).where(*_of(Manifest, revision)),
        select(Revision.id).where(*later),
    )
    return any(session.scalar(query.limit(1)) is not None for query in referring)
