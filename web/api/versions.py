"""`/api/v1/adapters/{owner}/{name}/versions`: numbering a revision, reading what was published."""

from fastapi import APIRouter, Request, Response, status

from registry import accounts, catalogue, publish, revisions, states
from registry.models import Account
from registry.schemas import DiffOut, PublishIn, StateIn, VersionDetail, VersionOut
from web.deps import (
    BaseUrl,
    Blobs,
    DatabaseSession,
    OptionalCaller,
    RequiredCaller,
    reads_only,
    viewer_of,
)

router = APIRouter(prefix="/api/v1", tags=["versions"])

VERSIONS = "/adapters/{owner}/{name}/versions"


@router.post(VERSIONS, status_code=status.HTTP_201_CREATED)
@reads_only
def create_version(
    *,
    owner: str,
    name: str,
    body: PublishIn,
    session: DatabaseSession,
    blobs: Blobs,
    caller: RequiredCaller,
    base_url: BaseUrl,
    request: Request,
    response: Response,
) -> VersionOut:
    """Give a revision a number. 200 when the same files had been published before.

    409 if the number is taken, 422 if it is wrong or the revision is no adapter.
    """
    adapter = revisions.find_adapter(session, f"{owner}/{name}", caller.account)
    accounts.require(session, caller, adapter, "write")
    checked = publish.check_revision(session, blobs, adapter, body.revision)
    # Only now, when all bytes are read: on SQLite a writing transaction keeps all others waiting.
    with request.app.state.sessions.begin() as writing:
        adapter = revisions.find_adapter(writing, adapter.name, caller.account)
        account = writing.get_one(Account, caller.account.id)
        published = publish.publish_revision(
            writing, blobs, adapter, checked.revision_id, body.number, account, checked=checked
        )
        request.state.event = "publish" if published.created else None
        if not published.created:
            response.status_code = status.HTTP_200_OK
        return catalogue.version_out(
            writing,
            published.version,
            base_url=base_url,
            created=published.created,
            warnings=published.warnings,
        )


@router.get(VERSIONS + "/{selector}")
def read_version(
    owner: str,
    name: str,
    selector: str,
    session: DatabaseSession,
    caller: OptionalCaller,
    base_url: BaseUrl,
) -> VersionDetail:
    """Return what `1.2.0`, `latest`, `^1`, a content digest or a revision id selects."""
    adapter = revisions.find_adapter(session, f"{owner}/{name}", viewer_of(caller))
    return catalogue.version_detail(session, adapter, selector, base_url=base_url)


@router.patch(VERSIONS + "/{number}")
def change_state(
    *,
    owner: str,
    name: str,
    number: str,
    body: StateIn,
    session: DatabaseSession,
    blobs: Blobs,
    caller: RequiredCaller,
    base_url: BaseUrl,
) -> VersionOut:
    """Deprecate, yank, take back or remove a version; removing needs the role admin.

    Operators of the hub quarantine. 409 for a move that does not exist.
    """
    adapter = revisions.find_adapter(session, f"{owner}/{name}", caller.account)
    accounts.require(session, caller, adapter, "admin" if body.state == "removed" else "write")
    version = states.exact_version(session, adapter, number)
    states.change(
        session,
        blobs,
        version,
        body.state,
        caller.account,
        successor=body.successor,
        reason=body.reason,
    )
    return catalogue.version_out(session, version, base_url=base_url)


@router.get("/diff")
def compare(before: str, after: str, session: DatabaseSession, caller: OptionalCaller) -> DiffOut:
    """Say what differs between two versions, tensor by tensor, from their digests."""
    return catalogue.difference(session, before, after, viewer_of(caller))
