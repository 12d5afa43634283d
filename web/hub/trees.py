"""Hub protocol: files of a revision, branches, tags and history."""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from registry import history, publish, revisions
from registry.errors import FileNotInRevision
from registry.models import Account, Adapter, Revision, RevisionFile
from web.deps import (
    BaseUrl,
    Blobs,
    DatabaseSession,
    Quoted,
    RequiredCaller,
    reads_only,
)
from web.hub import shapes
from web.hub.repository import VisibleAdapter, WritableAdapter

router = APIRouter(include_in_schema=False, prefix="/api/models/{owner}/{name}")

Items = list[dict[str, Any]]
Flag = Annotated[bool, Query()]
COMMITS_PER_PAGE = 100


@router.get("/tree/{revision}")
@router.get("/tree/{revision}/{path:path}")
def tree(
    adapter: VisibleAdapter,
    revision: Quoted,
    session: DatabaseSession,
    path: str = "",
    *,
    recursive: Flag = False,
    expand: Flag = False,
) -> Items:
    found = revisions.resolve_revision(session, adapter, revision)
    folder = path.replace("%2F", "/").strip("/")
    items = _folder(adapter, found, folder, recursive=recursive)
    return _described(session, found, items, expand=expand)


@router.post("/paths-info/{revision}")
@reads_only
def paths_info(
    adapter: VisibleAdapter,
    revision: Quoted,
    session: DatabaseSession,
    paths: Annotated[list[str], Form()],
    *,
    expand: Annotated[bool, Form()] = False,
) -> Items:
    """Describe some paths; those that do not exist are left out."""
    found = revisions.resolve_revision(session, adapter, revision)
    items = _folder(adapter, found, "", recursive=True)
    wanted = {path: items[path] for path in paths if path in items}
    return _described(session, found, wanted, expand=expand)


@router.get("/refs")
def refs(
    adapter: VisibleAdapter, session: DatabaseSession, *, include_prs: Flag = False
) -> dict[str, Items]:
    document: dict[str, Any] = {
        "branches": shapes.ref_items(revisions.refs(session, adapter, "branch")),
        "tags": shapes.ref_items(revisions.refs(session, adapter, "tag")),
        "converts": [],
    }
    if include_prs:
        document["pullRequests"] = []
    return document


class BranchIn(BaseModel):
    startingPoint: str | None = None  # noqa: N815  (the name on the wire)


@router.post("/branch/{branch}")
def create_branch(
    adapter: WritableAdapter,
    branch: Quoted,
    session: DatabaseSession,
    caller: RequiredCaller,
    body: BranchIn | None = None,
) -> dict[str, bool]:
    start = body.startingPoint if body is not None else None
    revision = revisions.resolve_revision(session, adapter, start or revisions.MAIN)
    revisions.branch(session, adapter, branch, revision, caller.account)
    return {"success": True}


@router.delete("/branch/{branch}")
def delete_branch(
    adapter: WritableAdapter, branch: Quoted, session: DatabaseSession, caller: RequiredCaller
) -> dict[str, bool]:
    revisions.remove_ref(session, adapter, "branch", branch, caller.account)
    return {"success": True}


class TagIn(BaseModel):
    tag: str
    message: str | None = None


@router.post("/tag/{revision}")
@reads_only
def create_tag(
    *,
    adapter: WritableAdapter,
    revision: Quoted,
    body: TagIn,
    session: DatabaseSession,
    store: Blobs,
    caller: RequiredCaller,
    request: Request,
) -> dict[str, Any]:
    """Name a revision. A version number (`1.2.0`, `v1.2.0`) publishes it, with every check."""
    target = revisions.resolve_revision(session, adapter, revision)
    number = revisions.version_number(body.tag)
    # Reading every byte comes first, so that nobody waits meanwhile for the lock of the database.
    checked = publish.check_revision(session, store, adapter, target.id) if number else None
    with request.app.state.sessions.begin() as writing:
        account = writing.get_one(Account, caller.account.id)
        adapter = writing.get_one(Adapter, adapter.id)
        if checked is None:
            target = revisions.resolve_revision(writing, adapter, target.id)
            revisions.tag(writing, adapter, body.tag, target, account)
            return {"success": True}
        published = publish.publish_revision(
            writing, store, adapter, target.id, number, account, checked=checked
        )
        request.state.event = "publish" if published.created else None
        return {"success": True, "version": number, "warnings": list(published.warnings)}


@router.delete("/tag/{tag}")
def delete_tag(
    adapter: WritableAdapter, tag: Quoted, session: DatabaseSession, caller: RequiredCaller
) -> dict[str, bool]:
    revisions.remove_ref(session, adapter, "tag", tag, caller.account)
    return {"success": True}


@router.get("/commits/{revision}")
def commits(
    adapter: VisibleAdapter,
    revision: Quoted,
    session: DatabaseSession,
    response: Response,
    base: BaseUrl,
) -> Items:
    found = revisions.resolve_revision(session, adapter, revision)
    line = list(islice(history.ancestry(session, found), COMMITS_PER_PAGE))
    if (older := line[-1].parent_id) is not None:
        address = f"{base}/api/models/{quote(adapter.name)}/commits/{older}"
        response.headers["Link"] = f'<{address}>; rel="next"'
    return [shapes.commit_item(item) for item in line]


# --- trees ---------------------------------------------------------------------------------------

Entries = Mapping[str, RevisionFile | None]
"""Path -> file, or None for a folder."""


def _folder(adapter: Adapter, revision: Revision, folder: str, *, recursive: bool) -> Entries:
    """Return what is below a folder. Raises FileNotInRevision if there is none."""
    prefix = f"{folder}/" if folder else ""
    entries: dict[str, RevisionFile | None] = {}
    for file in revisions.files(revision):
        if not file.path.startswith(prefix):
            continue
        for parent in PurePosixPath(file.path).parents:
            if len(str(parent)) >= len(prefix) and str(parent) != ".":
                entries[str(parent)] = None
        entries[file.path] = file
    if folder and not entries:
        raise FileNotInRevision(adapter.name, revision.id, folder)
    if not recursive:
        return {path: file for path, file in entries.items() if "/" not in path[len(prefix) :]}
    return entries


def _described(session: Session, revision: Revision, items: Entries, *, expand: bool) -> Items:
    last = history.last_changes(session, revision, items) if expand else {}
    files = revisions.files(revision)
    return [
        shapes.folder_item(path, _folder_id(files, path), last.get(path))
        if file is None
        else shapes.file_item(file, last.get(path))
        for path, file in sorted(items.items())
    ]


def _folder_id(files: Iterable[RevisionFile], folder: str) -> str:
    """Return an id that changes with the contents, as a git tree's does."""
    digest = hashlib.sha256()
    for file in files:
        if file.path.startswith(f"{folder}/"):
            digest.update(f"{file.path}\0{file.sha256}\n".encode())
    return digest.hexdigest()[:40]
