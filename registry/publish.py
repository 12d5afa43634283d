"""Publishing: a revision becomes a numbered version, whole or not at all.

Checking reads every byte and writes nothing; recording writes little and holds the adapter's lock.
The two are apart, so that nobody waits for the lock while a large file is read.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import (
    audit,
    base_models,
    card_scores,
    manifest,
    models,
    revisions,
    search,
    tables,
    versioning,
)
from registry.blobs import BlobStore
from registry.errors import RevisionNotFound, VersionExists
from registry.models import Account, Adapter, Ref, Revision, Version
from registry.packages import Package, PackageFile
from registry.schemas import BaseIdentity, ManifestDocument
from registry.versioning import Number


@dataclass(frozen=True)
class Checked:
    """A revision that was found to be an adapter. It stays true: neither it nor its base change."""

    revision_id: str
    manifest: manifest.Manifest
    base: BaseIdentity
    card: str


@dataclass(frozen=True)
class Published:
    """A version. `created` is False when the same files had been published before."""

    version: Version
    created: bool
    warnings: tuple[str, ...]


def publish_revision(
    session: Session,
    blobs: BlobStore,
    adapter: Adapter,
    revision_id: str,
    number: str | None,
    account: Account,
    *,
    checked: Checked | None = None,
) -> Published:
    """Give a revision a number, and make everything that goes with it, in the caller's transaction.

    Without a number it gets the next right one. Publishing the same files again answers with the
    version that exists. `checked` spares the check when it was made before the transaction.

    Raises RevisionNotFound, InvalidPackage, BaseModelNotFound, InvalidName for what is no number,
    VersionExists, WrongVersionNumber.
    """
    wanted = None if number is None else Number.parse(number)
    revision = revisions.resolve_revision(session, adapter, revision_id)
    if checked is None or checked.revision_id != revision.id:
        checked = check_revision(session, blobs, adapter, revision.id)
    revisions.lock(session, adapter)
    if session.get(Revision, (adapter.id, revision.id), populate_existing=True) is None:
        raise RevisionNotFound(adapter.name, revision_id)  # abandoned, it seemed, and collected
    existing = _versions(session, adapter)
    version = _repeated(existing, wanted, checked)
    created = version is None
    incoming = _incoming(session, adapter, revision)
    warnings = checked.manifest.warnings
    if version is None:
        chosen = _choose(adapter, existing, wanted, checked)
        version = _record(session, adapter, chosen, checked, account)
        # A correction of an older line is no news for those who follow main.
        newest = all(chosen > _number(other) for other in existing if _stands(other))
        if newest and incoming:
            revisions.point(session, adapter, "branch", revisions.MAIN, revision)
        search.index_adapter(session, adapter, card=checked.card if newest else None)
        warnings += card_scores.record(session, version.content, checked.card, account)
    for branch in incoming:  # they have served their purpose
        session.delete(branch)
    session.flush()
    return Published(version, created, warnings)


def check_revision(
    session: Session, blobs: BlobStore, adapter: Adapter, revision_id: str
) -> Checked:
    """Read a revision whole and derive its manifest; nothing is written.

    Raises RevisionNotFound, InvalidPackage with every problem, and BaseModelNotFound when the
    revision is sound as far as one can tell, but its base is not registered.
    """
    revision = revisions.resolve_revision(session, adapter, revision_id)
    package = package_of(revision, blobs)
    claimed = manifest.claimed_base(package)
    base = base_models.find(session, claimed)
    if base is None:
        manifest.build_manifest(package, None)  # other faults are told first: they need mending too
        base = base_models.get(session, claimed)
    identity = base_models.identity_of(base)
    built = manifest.build_manifest(package, base_models.describe(base), identity)
    return Checked(revision.id, built, identity, _card(package))


def package_of(revision: Revision, blobs: BlobStore) -> Package:
    """See a revision as files."""
    return Package.from_files(
        {
            file.path: PackageFile(file.blob.size, partial(_open, blobs, file.sha256), file.sha256)
            for file in revisions.files(revision)
        }
    )


def _card(package: Package) -> str:
    if manifest.CARD not in package:
        return ""
    return package.read(manifest.CARD, limit=manifest.LARGEST_CARD).decode(errors="replace")


# --- numbers -------------------------------------------------------------------------------------


def _versions(session: Session, adapter: Adapter) -> Sequence[Version]:
    return session.scalars(
        select(Version)
        .where(Version.adapter_id == adapter.id)
        .order_by(Version.major, Version.minor, Version.patch)
        .execution_options(populate_existing=True)  # another push may have come first
    ).all()


def _repeated(
    existing: Sequence[Version], wanted: Number | None, checked: Checked
) -> Version | None:
    """Return the version that holds these very files already, under this number or as the last."""
    standing = [version for version in existing if _stands(version)]
    if wanted is not None:
        standing = [version for version in existing if _number(version) == wanted]
    if standing and _is_same(standing[-1], checked):
        return standing[-1]
    return None


def _is_same(version: Version, checked: Checked) -> bool:
    files = checked.manifest.json()["files"]
    before: dict[str, Any] = version.manifest.document
    return version.content == checked.manifest.content and before["files"] == files


def _choose(
    adapter: Adapter, existing: Sequence[Version], wanted: Number | None, checked: Checked
) -> Number:
    new = checked.manifest.document
    if wanted is not None and wanted in map(_number, existing):
        raise VersionExists(adapter.name, str(wanted))
    published = [
        versioning.Published(_number(version), _document(version) if _stands(version) else None)
        for version in existing
    ]
    if wanted is None:
        return versioning.next_number(published, new)
    versioning.check_number(published, wanted, new)
    return wanted


def _number(version: Version) -> Number:
    return Number(version.major, version.minor, version.patch)


def _stands(version: Version) -> bool:
    return version.state in versioning.STANDING


def _document(version: Version) -> ManifestDocument:
    return ManifestDocument.model_validate(version.manifest.document)


# --- rows ----------------------------------------------------------------------------------------


def _record(
    session: Session, adapter: Adapter, number: Number, checked: Checked, account: Account
) -> Version:
    document = checked.manifest.document
    content = _record_manifest(session, adapter, checked).content
    version = Version(
        adapter_id=adapter.id,
        number=str(number),
        major=number.major,
        minor=number.minor,
        patch=number.patch,
        revision_id=checked.revision_id,
        content=content,
        published_by=account,
        kind=document.kind,
        method=document.method,
        language=document.signature.language,
        base_name=checked.base.name,
        structure=checked.base.structure,
    )
    session.add(version)
    adapter.updated_at = tables.now()
    session.flush()
    revision = session.get_one(Revision, (adapter.id, checked.revision_id))
    revisions.point(session, adapter, "tag", str(number), revision)
    audit.record(
        session,
        account,
        "version.publish",
        f"{adapter.name}@{number}",
        revision=checked.revision_id,
        content=content,
    )
    return version


def _record_manifest(session: Session, adapter: Adapter, checked: Checked) -> models.Manifest:
    """Return the revision's manifest, which it has already when it is published a second time."""
    row = session.get(models.Manifest, (adapter.id, checked.revision_id))
    if row is None:
        row = models.Manifest(
            adapter_id=adapter.id,
            revision_id=checked.revision_id,
            digest=checked.manifest.digest,
            content=checked.manifest.content,
            document=checked.manifest.json(),
        )
        session.add(row)
        session.flush()
    return row


def _incoming(session: Session, adapter: Adapter, revision: Revision) -> Sequence[Ref]:
    """Return the branches on which a push collected this revision."""
    branches = select(Ref).where(
        Ref.adapter_id == adapter.id,
        Ref.revision_id == revision.id,
        Ref.name.startswith(revisions.INCOMING),
    )
    return session.scalars(branches).all()


# --- bytes ---------------------------------------------------------------------------------------


def _open(blobs: BlobStore, sha256: str) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(_Stream(blobs.stream(sha256))))


class _Stream(io.RawIOBase):
    """A file over the chunks of a blob, whichever store they come from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
