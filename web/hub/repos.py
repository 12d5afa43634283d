"""Hub protocol: repositories are created, described, moved and removed."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from registry import (
    accounts,
    card_scores,
    frontmatter,
    listing,
    model_index,
    quotas,
    revisions,
)
from registry.blobs import BlobStore
from registry.errors import AdapterNotFound, NameTaken, NotAllowed, UploadRefused
from registry.models import Account
from web.deps import (
    AppSettings,
    BaseUrl,
    Blobs,
    DatabaseSession,
    OptionalCaller,
    Quoted,
    RequiredCaller,
    viewer_of,
)
from web.hub import shapes
from web.hub.repository import AdministeredAdapter, VisibleAdapter, WritableAdapter, card_of

router = APIRouter(include_in_schema=False)


class RepoIn(BaseModel):
    """A repository by name; without an organisation it is the caller's own."""

    name: str
    organization: str | None = None
    type: str | None = None
    private: bool | None = None  # clients before 1.0
    visibility: str | None = None

    def full_name(self, caller: accounts.Caller) -> str:
        if self.type not in {None, "model"}:
            raise UploadRefused(
                f"this hub holds adapters, which clients call models; it has no {self.type}s"
            )
        if "/" in self.name:
            return self.name
        return f"{self.organization or caller.account.name}/{self.name}"


@router.post("/api/repos/create")
def create(
    body: RepoIn,
    caller: RequiredCaller,
    session: DatabaseSession,
    settings: AppSettings,
    base: BaseUrl,
) -> Any:
    name = body.full_name(caller)
    owner = accounts.find(session, name.partition("/")[0])
    if owner is None:
        raise NotAllowed(f"there is no account {name.partition('/')[0]!r} here to own {name}")
    accounts.require_owner(session, caller, owner, "write", subject=name)
    try:
        with quotas.enforced(session, owner, settings.quotas):
            adapter = revisions.create_adapter(session, caller.account, name, _visibility(body))
    except NameTaken as error:
        return _taken(session, name, caller, base, error)
    return {"url": f"{base}/{adapter.name}", "name": adapter.name, "id": str(adapter.id)}


def _taken(
    session: Session, name: str, caller: accounts.Caller, base: str, error: NameTaken
) -> JSONResponse:
    try:
        adapter = revisions.find_adapter(session, name, caller.account)
    except AdapterNotFound:
        # Not 409: a client told `exist_ok` would take that for "it is there" and go on.
        raise HTTPException(410, str(error)) from error
    body = {"error": "you already created this repository", "url": f"{base}/{adapter.name}"}
    return JSONResponse(body, status_code=409)


@router.delete("/api/repos/delete")
def delete(body: RepoIn, caller: RequiredCaller, session: DatabaseSession) -> dict[str, bool]:
    adapter = revisions.find_adapter(session, body.full_name(caller), caller.account)
    accounts.require(session, caller, adapter, "admin")
    revisions.remove(session, adapter, caller.account)
    return {"success": True}


class MoveIn(BaseModel):
    fromRepo: str  # noqa: N815  (the names on the wire)
    toRepo: str  # noqa: N815
    type: str | None = None


@router.post("/api/repos/move")
def move(
    body: MoveIn,
    caller: RequiredCaller,
    session: DatabaseSession,
    settings: AppSettings,
    base: BaseUrl,
) -> dict[str, Any]:
    adapter = revisions.find_adapter(session, body.fromRepo, caller.account)
    accounts.require(session, caller, adapter, "admin")
    owner = accounts.find(session, body.toRepo.partition("/")[0])
    if owner is None:
        raise NotAllowed(f"there is no account to own {body.toRepo}")
    accounts.require_owner(session, caller, owner, "admin", subject=body.toRepo)
    with quotas.enforced(session, owner, settings.quotas):
        revisions.rename(session, adapter, body.toRepo, caller.account)
    return {"success": True, "url": f"{base}/{adapter.name}"}


class SettingsIn(BaseModel):
    private: bool | None = None
    visibility: str | None = None
    gated: bool | str | None = None


@router.put("/api/models/{owner}/{name}/settings")
def change_settings(
    body: SettingsIn,
    adapter: AdministeredAdapter,
    caller: RequiredCaller,
    session: DatabaseSession,
) -> dict[str, Any]:
    if body.gated:
        raise UploadRefused("this hub has no gated adapters; make it private instead")
    if body.private is not None or body.visibility is not None:
        revisions.set_visibility(session, adapter, _visibility(body), caller.account)
    return {"private": adapter.visibility == "private", "gated": False}


@router.get("/api/models/{owner}/{name}")
def info(
    adapter: VisibleAdapter,
    caller: OptionalCaller,
    session: DatabaseSession,
    store: Blobs,
    *,
    blobs: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    return info_at(adapter, revisions.MAIN, caller, session, store, blobs=blobs)


@router.get("/api/models/{owner}/{name}/revision/{revision}")
def info_at(
    adapter: VisibleAdapter,
    revision: Quoted,
    caller: OptionalCaller,
    session: DatabaseSession,
    store: Blobs,
    *,
    blobs: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    found = revisions.resolve_revision(session, adapter, revision)
    listed = listing.describe(session, adapter, found)
    card = _completed_card(session, store, listed, viewer_of(caller))
    return shapes.adapter_info(listed, card, sizes=blobs)


@router.get("/api/models/{owner}/{name}/auth-check")
def may_read(adapter: VisibleAdapter) -> dict[str, str]:
    return {"id": adapter.name}


@router.get("/api/models/{owner}/{name}/auth-check/write")
def may_write(adapter: WritableAdapter) -> dict[str, str]:
    return {"id": adapter.name}


# --- what is no adapter --------------------------------------------------------------------------


@router.get("/api/models/{name}")
@router.get("/api/models/{name}/revision/{revision}")
@router.get("/api/models/{name}/tree/{revision}")
@router.get("/api/models/{name}/tree/{revision}/{path:path}")
def base_model(name: str, _caller: OptionalCaller) -> None:
    """With HF_ENDPOINT set to us, clients look for base models here, too."""
    raise AdapterNotFound(name)


@router.api_route("/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def base_model_file(name: str, _caller: OptionalCaller) -> None:
    raise AdapterNotFound(name)


@router.api_route("/api/datasets/{path:path}", methods=["GET", "POST"])
@router.api_route("/api/spaces/{path:path}", methods=["GET", "POST"])
@router.api_route("/api/kernels/{path:path}", methods=["GET", "POST"])
@router.api_route("/datasets/{path:path}", methods=["GET", "HEAD", "POST"])
@router.api_route("/spaces/{path:path}", methods=["GET", "HEAD", "POST"])
def other_kind(path: str) -> None:
    """Said as clients understand it: they ask for data sets and spaces in the same way."""
    raise AdapterNotFound(path)


def _completed_card(
    session: Session, store: BlobStore, listed: listing.Listed, viewer: Account | None
) -> frontmatter.Card:
    """Return a revision's card, whose model-index says also what the hub has recorded."""
    assert listed.revision is not None
    card = card_of(store, listed.revision)
    index = card_scores.completed_index(session, listed.adapter, card, viewer)
    if index is None:
        return card
    return replace(card, metadata={**card.metadata, model_index.KEY: index})


def _visibility(body: RepoIn | SettingsIn) -> str:
    if body.visibility is None:
        return "private" if body.private else "public"
    if body.visibility not in {"public", "private"}:
        raise UploadRefused(f"visibility is 'public' or 'private', not {body.visibility!r}")
    return body.visibility
