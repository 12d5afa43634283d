"""Adapters and versions as the catalogue shows them: on pages and in the answers of `/api/v1`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from registry import diff, external, names, revisions, scores, search
from registry.accounts import visible_to
from registry.errors import RevisionNotFound, VersionWithheld
from registry.models import (
    Account,
    Adapter,
    Blob,
    Manifest,
    Revision,
    RevisionFile,
    SearchDocument,
    Version,
)
from registry.names import Content, Exact, Latest, Range, RevisionPin, Selector
from registry.schemas import (
    AdapterOut,
    DiffOut,
    FileOut,
    ManifestDocument,
    State,
    TensorChangeOut,
    VersionDetail,
    VersionOut,
)
from registry.versioning import Number, admits

# --- adapters ------------------------------------------------------------------------------------


def adapter_out(
    session: Session, adapter: Adapter, viewer: Account | None, *, base_url: str = ""
) -> AdapterOut:
    """Return an adapter with its versions, the highest first, and its scores."""
    rows = versions(session, adapter)
    sizes = _sizes(session, adapter, {row.revision_id for row in rows})
    shown = {row.number: _version_out(adapter, row, sizes, base_url) for row in rows}
    newest = search.newest_version(session, adapter.id)
    return AdapterOut(
        name=adapter.name,
        visibility=adapter.visibility,
        downloads=adapter.downloads,
        created_at=adapter.created_at,
        updated_at=adapter.updated_at,
        latest=shown[newest.number] if newest is not None else None,
        versions=list(shown.values()),
        scores=scores.for_adapter(session, adapter, viewer),
        external=adapter.external,
    )


def versions(session: Session, adapter: Adapter) -> Sequence[Version]:
    """Return every version ever published, whatever became of it, the highest number first."""
    return session.scalars(
        select(Version)
        .where(Version.adapter_id == adapter.id)
        .options(joinedload(Version.published_by))
        .order_by(Version.major.desc(), Version.minor.desc(), Version.patch.desc())
    ).all()


# --- versions ------------------------------------------------------------------------------------


def find_version(session: Session, adapter: Adapter, selector: str) -> Version:
    """Return the version that `1.2.0`, `latest`, `^1`, a content digest or a revision id selects.

    Raises InvalidName when the selector cannot be read, RevisionNotFound when it selects nothing,
    VersionWithheld when it selects only what was quarantined or removed.
    """
    external.check_here(adapter)
    wanted = names.parse_selector(selector)
    selected = [version for version in versions(session, adapter) if _selects(wanted, version)]
    for version in selected:
        if version.state not in revisions.WITHHELD:
            return version
    if selected:
        withheld = selected[0]
        raise VersionWithheld(adapter.name, withheld.number, withheld.state, withheld.state_reason)
    if isinstance(wanted, Latest) and (newest := search.newest_version(session, adapter.id)):
        return newest
    raise RevisionNotFound(adapter.name, selector)


def _selects(wanted: Selector, version: Version) -> bool:
    match wanted:
        case Exact(number):
            return version.number == number
        case Content(digest):
            return version.content == digest
        case RevisionPin(revision):
            return version.revision_id == revision
        case Range():
            present = Number(version.major, version.minor, version.patch)
            return version.state == "live" and admits(wanted, present)
        case Latest():
            return version.state == "live"


def version_out(
    session: Session,
    version: Version,
    *,
    base_url: str = "",
    created: bool = True,
    warnings: Sequence[str] = (),
) -> VersionOut:
    sizes = _sizes(session, version.adapter, {version.revision_id})
    shown = _version_out(version.adapter, version, sizes, base_url)
    return shown.model_copy(update={"created": created, "warnings": list(warnings)})


def version_detail(
    session: Session, adapter: Adapter, selector: str, *, base_url: str = ""
) -> VersionDetail:
    """Return a version with its manifest and files. Raises InvalidName, RevisionNotFound."""
    version = find_version(session, adapter, selector)
    revision = session.get_one(Revision, (adapter.id, version.revision_id))
    return VersionDetail(
        **version_out(session, version, base_url=base_url).model_dump(),
        manifest=session.get_one(Manifest, (adapter.id, version.revision_id)).document,
        files=files(revision),
    )


def difference(session: Session, before: str, after: str, viewer: Account | None) -> DiffOut:
    """Compare what two references select, of one adapter or of two.

    Raises InvalidName, AdapterNotFound, RevisionNotFound.
    """
    one, two = (_referenced(session, text, viewer) for text in (before, after))
    found = diff.compare(_document(session, one), _document(session, two))
    return DiffOut(
        before=f"{one.adapter.name}@{one.number}",
        after=f"{two.adapter.name}@{two.number}",
        summary=found.summary,
        fields=list(found.fields),
        tensors=[TensorChangeOut(**vars(change)) for change in found.tensors],
        files=dict(found.files),
    )


def _referenced(session: Session, text: str, viewer: Account | None) -> Version:
    reference = names.parse_reference(text)
    adapter = revisions.find_adapter(session, reference.name, viewer)
    return find_version(session, adapter, str(reference.selector))


def _document(session: Session, version: Version) -> ManifestDocument:
    row = session.get_one(Manifest, (version.adapter_id, version.revision_id))
    return ManifestDocument.model_validate(row.document)


def manifest_of(session: Session, revision: Revision) -> ManifestDocument | None:
    """Return what a revision was found to be; None if it is no valid adapter, or was not asked."""
    row = session.get(Manifest, (revision.adapter_id, revision.id))
    return ManifestDocument.model_validate(row.document) if row is not None else None


def files(revision: Revision) -> list[FileOut]:
    return [
        FileOut(path=file.path, size=file.blob.size, sha256=file.sha256)
        for file in revisions.files(revision)
    ]


def _version_out(
    adapter: Adapter, version: Version, sizes: dict[str, int], base_url: str
) -> VersionOut:
    state: State = version.state  # type: ignore[assignment]  # the table allows no other
    return VersionOut(
        name=adapter.name,
        number=version.number,
        ref=f"{adapter.name}@{version.number}",
        revision=version.revision_id,
        content=version.content,
        state=state,
        successor=version.successor,
        reason=version.state_reason,
        published_at=version.published_at,
        published_by=version.published_by.name,
        kind=version.kind,
        method=version.method,
        language=version.language,
        base_name=version.base_name,
        size=sizes.get(version.revision_id, 0),
        url=f"{base_url}/{adapter.name}/versions/{version.number}",
    )


def _sizes(session: Session, adapter: Adapter, revision_ids: Collection[str]) -> dict[str, int]:
    rows = session.execute(
        select(RevisionFile.revision_id, func.sum(Blob.size))
        .join(Blob, Blob.sha256 == RevisionFile.sha256)
        .where(RevisionFile.adapter_id == adapter.id, RevisionFile.revision_id.in_(revision_ids))
        .group_by(RevisionFile.revision_id)
    )
    return {revision: int(size) for revision, size in rows}


# --- owners and the hub as a whole ---------------------------------------------------------------


@dataclass(frozen=True)
class Totals:
    """How much the hub holds that the viewer may see."""

    adapters: int
    versions: int
    languages: int
    downloads: int


def totals(session: Session, viewer: Account | None) -> Totals:
    visible = visible_to(viewer)
    adapters, downloads = session.execute(
        select(func.count(), func.coalesce(func.sum(Adapter.downloads), 0)).where(visible)
    ).one()
    published, languages = session.execute(
        select(func.count(), func.count(Version.language.distinct()))
        .join(Adapter, Adapter.id == Version.adapter_id)
        .where(visible, Version.state == "live")
    ).one()
    return Totals(adapters, published, languages, int(downloads))


def title(session: Session, adapter: Adapter) -> str:
    """Return what the card calls the adapter, or nothing."""
    return (
        session.scalar(select(SearchDocument.title).where(SearchDocument.adapter_id == adapter.id))
        or ""
    )
