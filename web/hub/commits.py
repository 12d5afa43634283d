"""Hub protocol: how to send each file, and the commit that brings small files with it."""

import base64
import binascii
import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from registry import accounts, quotas, revisions, search, uploads
from registry.acceptance import MIB, Limits, check_file, sniff
from registry.errors import RevisionNotFound, UploadRefused, UploadTooLarge
from registry.models import Account, Adapter, Revision
from registry.reindex import card_text
from registry.schemas import Count
from registry.settings import Settings
from web.deps import (
    AppSettings,
    BaseUrl,
    DatabaseSession,
    Quoted,
    get_caller,
    reads_only,
    viewer_of,
)
from web.hub import discussions
from web.hub.ndjson import CommitBody, CommitReader
from web.hub.repository import VisibleAdapter, WritableAdapter

router = APIRouter(include_in_schema=False)

REPOSITORY = "/api/models/{owner}/{name}"

SMALL = 8 * MIB
"""Up to here a file travels inside the commit, whatever the client."""
TOO_LARGE_FOR_XET = "/api/too-large-for-xet/set-HF_HUB_DISABLE_XET=1-and-upload-again"
XET_ONLY = (1, 20)
"""From this version on clients send what is marked "lfs" by Xet, unless that is switched off."""
FEED = 1 * MIB

_CLIENT = re.compile(r"hf_hub/(\d+)\.(\d+)")
_TURN_XET_OFF = "set HF_HUB_DISABLE_XET=1 and upload again, or use 'hubctl push'"


class FileIn(BaseModel):
    path: str
    size: Count
    sample: str = ""


class PreuploadIn(BaseModel):
    files: list[FileIn] = Field(max_length=1000)


@router.post(REPOSITORY + "/preupload/{revision}")
@reads_only
def preupload(
    *,
    adapter: WritableAdapter,
    revision: Quoted,
    body: PreuploadIn,
    session: DatabaseSession,
    settings: AppSettings,
    request: Request,
) -> dict[str, Any]:
    """Say for each file how to send it, and refuse what will not be taken before it is sent."""
    head = revisions.branch_head(session, adapter, revision)
    if head is None and not revision.startswith(revisions.INCOMING):
        raise RevisionNotFound(adapter.name, revision)
    _refuse_early(body.files, settings.limits)
    quotas.check_room(session, adapter.owner, settings.quotas, _new_bytes(body.files, head))
    limit = settings.inline_limit if _client_version(request) >= XET_ONLY else SMALL
    modes = {file.path: "regular" if file.size <= limit else "lfs" for file in body.files}
    present = _present(head)
    return {
        "files": [
            {
                "path": path,
                "uploadMode": mode,
                "shouldIgnore": False,
                "oid": present.get(path, {}).get(mode),
            }
            for path, mode in modes.items()
        ]
    }


@router.get(REPOSITORY + "/xet-write-token/{revision}")
def xet_write_token(adapter: WritableAdapter, revision: str) -> Response:  # noqa: ARG001
    """There is no Xet here. Only a client that would send a large file by it comes this way.

    It shows its user nothing of an answer but the status and the address it came from. So the
    address says what to do.
    """
    return RedirectResponse(TOO_LARGE_FOR_XET, status_code=307)


@router.get(TOO_LARGE_FOR_XET)
def too_large_for_xet(settings: AppSettings) -> None:
    raise UploadTooLarge(
        f"this hub takes no Xet uploads, and files above {settings.inline_limit // MIB} MiB "
        f"in no other way from this client; {_TURN_XET_OFF}"
    )


@router.get(REPOSITORY + "/xet-read-token/{revision}")
def xet_read_token(adapter: VisibleAdapter, revision: str) -> None:  # noqa: ARG001
    raise HTTPException(404)


@router.post(REPOSITORY + "/commit/{revision}")
async def commit(
    *,
    request: Request,
    owner: str,
    name: str,
    revision: str,
    settings: AppSettings,
    base: BaseUrl,
    create_pr: Annotated[bool, Query()] = False,
) -> dict[str, Any]:
    """Store the files that come with the commit, then make the revision in one transaction.

    A body that is cut leaves nothing that anybody can see.
    """
    if create_pr:
        discussions.refuse()
    target = _Target(request, f"{owner}/{name}", unquote(revision))
    await run_in_threadpool(target.check)
    with CommitReader(request.app.state.blobs, settings.inline_limit, large_above=SMALL) as reader:
        await _feed(request, reader)
        body = await run_in_threadpool(reader.finish)
    oid, full_name = await run_in_threadpool(target.commit, body)
    return {
        "success": True,
        "commitOid": oid,
        "commitUrl": f"{base}/{full_name}/commit/{oid}",
        "hookOutput": "",
    }


@dataclass
class _Target:
    """Where a commit goes. No transaction is open while its body arrives: that may take long."""

    request: Request
    name: str
    branch: str

    def check(self) -> None:
        """Refuse, before the body is read, who may not commit here."""
        with self.request.app.state.reading_sessions.begin() as session:
            adapter, _author = self._authorised(session)
            if not self.branch.startswith(revisions.INCOMING):
                revisions.resolve_revision(session, adapter, self.branch)

    def commit(self, body: CommitBody) -> tuple[str, str]:
        """Return the new revision's id, and the adapter's present name."""
        settings: Settings = self.request.app.state.settings
        with ExitStack() as stack:
            session = stack.enter_context(self.request.app.state.sessions.begin())
            adapter, author = self._authorised(session)
            stack.enter_context(quotas.enforced(session, adapter.owner, settings.quotas))
            uploads.receive(session, self.request.app.state.blobs, adapter, body.stored)
            revision = revisions.commit(
                session,
                adapter,
                self.branch,
                body.operations,
                title=body.summary,
                message=body.description,
                author=author,
                parent=body.parent,
                limits=settings.limits,
            )
            if self.branch == revisions.MAIN and search.newest_version(session, adapter.id) is None:
                # Until something is published, the card alone says what the adapter is.
                card = card_text(self.request.app.state.blobs, revision)
                search.index_adapter(session, adapter, card=card)
            return revision.id, adapter.name

    def _authorised(self, session: Session) -> tuple[Adapter, Account]:
        caller = get_caller(self.request, session)
        adapter = revisions.find_adapter(session, self.name, viewer_of(caller))
        return adapter, accounts.require(session, caller, adapter, "write").account


async def _feed(request: Request, reader: CommitReader) -> None:
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= FEED:  # one hop to another thread per MiB, not per packet
            await run_in_threadpool(reader.feed, bytes(waiting))
            waiting.clear()
    await run_in_threadpool(reader.feed, bytes(waiting))


def _refuse_early(files: list[FileIn], limits: Limits) -> None:
    problems = []
    for file in files:
        try:
            check_file(file.path, file.size, sniff(_sample(file)), limits)
        except UploadRefused as error:
            problems.append(str(error))
    if problems:
        raise UploadRefused("; ".join(problems))


def _new_bytes(files: list[FileIn], head: Revision | None) -> int:
    """Return how many bytes are surely new: a file of the size it has now may be unchanged."""
    present = {} if head is None else {file.path: file.blob.size for file in head.files}
    return sum(file.size for file in files if present.get(file.path) != file.size)


def _sample(file: FileIn) -> bytes:
    try:
        return base64.b64decode(file.sample)
    except binascii.Error as error:
        raise UploadRefused(f"the sample of {file.path} is not base64") from error


def _present(head: Revision | None) -> dict[str, dict[str, str]]:
    """Return the ids of the files that are there, in the unit of each mode.

    A client that finds its own file's id here does not send it again.
    """
    if head is None:
        return {}
    return {
        file.path: {"regular": file.blob.git_sha1, "lfs": file.sha256}
        for file in revisions.files(head)
    }


def _client_version(request: Request) -> tuple[int, int]:
    """Return huggingface_hub's version; of an unknown client, one that may use Xet."""
    match = _CLIENT.search(request.headers.get("User-Agent", ""))
    return (int(match[1]), int(match[2])) if match else XET_ONLY
