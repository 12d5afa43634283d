"""The page of an adapter, at its newest version or at a chosen one."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from registry import cards, catalogue, frontmatter, prose, revisions, scores, search
from registry.blobs import BlobStore
from registry.manifest import CARD
from registry.models import Account, Adapter, Revision
from registry.schemas import AdapterOut, FileOut, ManifestDocument, ScoreOut, VersionOut
from web.deps import BaseUrl, Blobs, DatabaseSession, OptionalCaller, viewer_of
from web.pages.rendering import page, part_of

router = APIRouter()


@router.get("/{owner}/{name}")
def get_adapter(
    *,
    owner: str,
    name: str,
    session: DatabaseSession,
    blobs: Blobs,
    caller: OptionalCaller,
    base: BaseUrl,
) -> Response:
    viewer = viewer_of(caller)
    adapter = revisions.find_adapter(session, f"{owner}/{name}", viewer)
    if adapter.name != f"{owner}/{name}":
        # Not a permanent one: browsers keep those, and an adapter may be renamed again.
        return RedirectResponse(f"/{adapter.name}", 302)
    if adapter.external is not None:
        return _show_external(session, adapter, viewer)
    newest = search.newest_version(session, adapter.id)
    return _show(session, blobs, adapter, newest.number if newest else None, viewer, base)


@router.get("/{owner}/{name}/versions/{number}")
def get_version(
    *,
    owner: str,
    name: str,
    number: str,
    session: DatabaseSession,
    blobs: Blobs,
    caller: OptionalCaller,
    base: BaseUrl,
) -> Response:
    """Show a version. What selects one in a reference (`^1`, `latest`) leads to it."""
    viewer = viewer_of(caller)
    adapter = revisions.find_adapter(session, f"{owner}/{name}", viewer)
    version = catalogue.find_version(session, adapter, number)
    if (adapter.name, version.number) != (f"{owner}/{name}", number):
        return RedirectResponse(f"/{adapter.name}/versions/{version.number}", 302)
    return _show(session, blobs, adapter, version.number, viewer, base)


@router.get("/{owner}/{name}/compare")
def get_comparison(
    *,
    owner: str,
    name: str,
    session: DatabaseSession,
    caller: OptionalCaller,
    before: str | None = None,
    after: str = "latest",
) -> Response:
    """Show what differs between two versions; without `before`, the one below `after`."""
    viewer = viewer_of(caller)
    adapter = revisions.find_adapter(session, f"{owner}/{name}", viewer)
    version = catalogue.find_version(session, adapter, after)
    numbers = [
        each.number
        for each in catalogue.versions(session, adapter)
        if each.state not in revisions.WITHHELD
    ]
    at = numbers.index(version.number)
    if before is None:
        before = numbers[min(at + 1, len(numbers) - 1)]
    found = catalogue.difference(
        session, f"{adapter.name}@{before}", f"{adapter.name}@{version.number}", viewer
    )
    return page(
        "compare.html",
        adapter=adapter,
        version=None,
        title="",
        found=found,
        numbers=numbers,
        before=found.before.partition("@")[2],
        after=version.number,
    )


@dataclass(frozen=True)
class _Subject:
    """What a score is of, as the table shows it."""

    text: str
    href: str | None = None


def _show(
    session: Session,
    blobs: BlobStore,
    adapter: Adapter,
    number: str | None,
    viewer: Account | None,
    base_url: str,
) -> Response:
    about = catalogue.adapter_out(session, adapter, viewer, base_url=base_url)
    shown = next((version for version in about.versions if version.number == number), None)
    revision = revisions.resolve_revision(session, adapter, shown.revision if shown else "main")
    files = catalogue.files(revision)
    manifest = catalogue.manifest_of(session, revision)
    title = catalogue.title(session, adapter)
    context: dict[str, Any] = {
        "adapter": about,
        "version": shown,
        "revision": revision,
        "files": files,
        "card": _read_card(blobs, adapter, revision, files, title),
        "title": title,
        "past": _past(session, adapter, viewer),
        "endpoint": base_url,
    }
    if shown is None or manifest is None:
        return page("unpublished.html", **context)
    return page("adapter.html", **context, **_described(about, shown, manifest, base_url))


def _past(session: Session, adapter: Adapter, viewer: Account | None) -> list[ScoreOut]:
    """Return the scores that were replaced or taken back."""
    every = scores.for_adapter(session, adapter, viewer, history=True)
    return [score for score in every if not score.stands]


def _show_external(session: Session, adapter: Adapter, viewer: Account | None) -> Response:
    about = catalogue.adapter_out(session, adapter, viewer)
    known = adapter.external or {}
    return page(
        "external.html", adapter=about, version=None, title=known.get("title", ""), known=known
    )


def _described(
    about: AdapterOut, shown: VersionOut, manifest: ManifestDocument, base_url: str
) -> dict[str, Any]:
    return {
        "manifest": manifest,
        "contract": prose.contract(manifest),
        "base_parts": prose.base_parts(manifest.base),
        "base_words": prose.base_in_words(manifest),
        "commands": prose.commands(about.name, shown.number, manifest, base_url),
        "subjects": {score.id: _subjects(score, about.versions) for score in about.scores},
    }


def _read_card(
    blobs: BlobStore, adapter: Adapter, revision: Revision, files: list[FileOut], title: str
) -> str:
    """Return the card as safe HTML; nothing without one."""
    found = next((file for file in files if file.path == CARD), None)
    if found is None:
        return ""
    text = blobs.read(found.sha256).decode("utf-8", "replace")
    return cards.render(
        frontmatter.split(text).body,
        files=f"/{adapter.name}/resolve/{revision.id}/",
        title=title,
    )


def _subjects(score: ScoreOut, versions: list[VersionOut]) -> list[_Subject]:
    """Return the parts of a set-up by slot, or the version that has the scored content."""
    if score.slots:
        return [_Subject(*part_of(slot, ref)) for slot, ref in score.slots.items()]
    numbers = [version.number for version in versions if version.content == score.subject]
    return [_Subject(f"version {numbers[0]}") if numbers else _Subject(score.subject[:19])]
