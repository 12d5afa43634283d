"""Scrubbing: read everything that is kept, and name what is not what it should be."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import Engine, and_, select
from sqlalchemy.orm import Session

from registry import accounts, db, revisions, states
from registry.blobs import BlobStore
from registry.errors import BlobMissing
from registry.models import Adapter, Blob, Manifest, RevisionFile, Version

BATCH = 500


@dataclass(frozen=True)
class Fault:
    """A blob or a version that is not what its row says."""

    kind: Literal["missing", "short", "corrupt", "incomplete"]
    """`incomplete`: the files of a version are not those of its manifest."""
    subject: str
    """The sha256 of a blob, or `owner/name@1.2.0`."""
    detail: str
    versions: tuple[str, ...] = ()
    """The versions that hold the blob."""


@dataclass
class Scrubbed:
    """What was read, and what is wrong with it."""

    blobs: int = 0
    bytes: int = 0
    versions: int = 0
    faults: list[Fault] = field(default_factory=list)


def scrub(engine: Engine, blobs: BlobStore, *, quarantine: bool = False) -> Scrubbed:
    """Hash every blob anew, and compare every version's files with its manifest.

    Nothing is changed, unless `quarantine`: then bytes that are wrong are moved aside, so that
    nobody gets them and the next upload of the right ones mends the blob; and the versions that
    hold bad or missing ones are quarantined, which the audit log tells.
    """
    done = Scrubbed()
    reading = db.reading_sessions(engine)
    for blob in _all_blobs(reading):
        size, fault = _check(blobs, blob)
        if fault is not None:
            fault = _confirmed(reading, blob, fault)
        if fault is not None:
            done.faults.append(fault)
            if quarantine and fault.kind != "missing":
                blobs.quarantine(blob.sha256)
        done.blobs += 1
        done.bytes += size
    for version in _all_versions(reading):
        done.versions += 1
        done.faults += version
    if quarantine:
        _quarantine(engine, blobs, done.faults)
    return done


# --- blobs ---------------------------------------------------------------------------------------


def _all_blobs(reading: db.Sessions) -> Iterator[Blob]:
    """Yield every row in the order of its digest, and hold no transaction meanwhile."""
    last = ""
    while True:
        with reading.begin() as session:
            after = select(Blob).where(Blob.sha256 > last).order_by(Blob.sha256).limit(BATCH)
            batch = session.scalars(after).all()
            session.expunge_all()
        if not batch:
            return
        yield from batch
        last = batch[-1].sha256


def _check(blobs: BlobStore, blob: Blob) -> tuple[int, Fault | None]:
    """Return how many bytes were read, and what is wrong with them."""
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in blobs.stream(blob.sha256):
            digest.update(chunk)
            size += len(chunk)
    except BlobMissing:
        return 0, Fault("missing", blob.sha256, f"{blob.size:,} bytes are gone")
    except OSError as error:
        reason = error.strerror or str(error)
        return size, Fault("corrupt", blob.sha256, f"cannot be read: {reason}")
    if size < blob.size:
        return size, Fault("short", blob.sha256, f"{size:,} of {blob.size:,} bytes are there")
    if size != blob.size or digest.hexdigest() != blob.sha256:
        return size, Fault("corrupt", blob.sha256, f"has the sha256 {digest.hexdigest()}")
    return size, None


def _confirmed(reading: db.Sessions, blob: Blob, fault: Fault) -> Fault | None:
    """Name the versions that suffer; None if the blob was collected while we read."""
    with reading.begin() as session:
        if session.get(Blob, blob.sha256) is None:
            return None
        holding = (
            select(Adapter.name, Version.id, Version.number)
            .join(Version, Version.adapter_id == Adapter.id)
            .join(
                RevisionFile,
                and_(
                    RevisionFile.adapter_id == Version.adapter_id,
                    RevisionFile.revision_id == Version.revision_id,
                ),
            )
            .where(RevisionFile.sha256 == blob.sha256)
            .order_by(Adapter.name, Version.id)
            .distinct()
        )
        names = tuple(f"{name}@{number}" for name, _, number in session.execute(holding))
    return Fault(fault.kind, fault.subject, fault.detail, names)


# --- versions ------------------------------------------------------------------------------------


def _all_versions(reading: db.Sessions) -> Iterator[list[Fault]]:
    """Yield the faults of every version."""
    last = 0
    while True:
        with reading.begin() as session:
            after = select(Version).where(Version.id > last).order_by(Version.id).limit(BATCH)
            batch = session.scalars(after).all()
            yield from [_compare(session, version) for version in batch]
        if not batch:
            return
        last = batch[-1].id


def _compare(session: Session, version: Version) -> list[Fault]:
    """Compare what the manifest says with the files of the revision and with their blobs."""
    rows = (
        select(RevisionFile.path, Blob.sha256, Blob.size)
        .outerjoin(Blob, Blob.sha256 == RevisionFile.sha256)
        .where(
            RevisionFile.adapter_id == version.adapter_id,
            RevisionFile.revision_id == version.revision_id,
        )
    )
    there = {path: (sha256, size) for path, sha256, size in session.execute(rows)}
    manifest = session.get_one(Manifest, (version.adapter_id, version.revision_id))
    named = {
        path: (facts["sha256"].removeprefix("sha256:"), facts["size"])
        for path, facts in manifest.document["files"].items()
    }
    wrong = sorted(path for path in named if there.get(path) != named[path])
    if not wrong:
        return []
    name = f"{version.adapter.name}@{version.number}"
    detail = f"not as its manifest says: {', '.join(wrong)}"
    return [Fault("incomplete", name, detail, (name,))]


def _quarantine(engine: Engine, blobs: BlobStore, faults: Sequence[Fault]) -> None:
    reasons = {name: f"scrub: {fault.detail}" for fault in faults for name in fault.versions}
    for ref, reason in sorted(reasons.items()):
        name, _, number = ref.partition("@")
        with db.sessions(engine).begin() as session:
            adapter = revisions.find_adapter(session, name, accounts.HUB)
            version = states.exact_version(session, adapter, number)
            if version.state not in revisions.WITHHELD:
                states.change(session, blobs, version, "quarantined", accounts.HUB, reason=reason)
