"""Hub protocol: large files, sent beside the commit as git-lfs sends them.

The batch answer holds signed addresses; whoever has one may send those bytes, and nothing else,
until it expires. Clients send them without a token.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from registry import quotas, revisions, uploads
from registry.blobs import BlobStore, Draft, StoredBlob
from registry.errors import BlobMissing, DigestMismatch, NotAllowed
from registry.models import Adapter, Blob, Upload
from registry.schemas import Count
from registry.settings import Settings
from web.deps import (
    AppSettings,
    BaseUrl,
    Blobs,
    DatabaseSession,
    RequiredCaller,
    reads_only,
)
from web.hub.repository import WritableAdapter
from web.signing import Signer

router = APIRouter(include_in_schema=False)

MEDIA_TYPE = "application/vnd.git-lfs+json"
SEND, PART, COMPLETE, VERIFY = "send a file", "send a part", "complete a file", "verify a file"
WRITE = 1 << 20

Ticket = Annotated[str, Query()]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ObjectIn(BaseModel):
    oid: Sha256
    size: Count


class BatchIn(BaseModel):
    operation: str
    transfers: list[str] = ["basic"]
    objects: list[ObjectIn] = Field(max_length=1000)
    hash_algo: str = "sha256"


@router.post("/{owner}/{name}.git/info/lfs/objects/batch")
def batch(
    *,
    adapter: WritableAdapter,
    body: BatchIn,
    caller: RequiredCaller,
    session: DatabaseSession,
    request: Request,
    blobs: Blobs,
    settings: AppSettings,
    base: BaseUrl,
) -> Response:
    """Answer for each object where to send it; for one that need not be sent, nothing."""
    if body.operation != "upload" or body.hash_algo != "sha256":
        return _answer({"message": "only uploads by sha256; download by /resolve/"}, status=501)
    offers = _Offers(request.app.state.signer, settings, base, adapter.id)
    in_parts = "multipart" in body.transfers
    digests = {item.oid for item in body.objects}
    # Bytes that were lost are wanted again, though their row is there: that mends them.
    known = {
        digest
        for digest in digests
        if revisions.may_attach(session, adapter, digest, caller.account) and blobs.exists(digest)
    }
    uploads.renew(session, known)
    wanted = {item.oid: item.size for item in body.objects if item.oid not in known}
    quotas.check_room(session, adapter.owner, settings.quotas, sum(wanted.values()))
    objects = [
        item.model_dump() if item.oid in known else offers.offer(item, in_parts=in_parts)
        for item in body.objects
    ]
    return _answer({"transfer": "multipart" if in_parts else "basic", "objects": objects})


@router.put("/api/lfs/objects/{oid}")
async def upload(oid: str, ticket: Ticket, request: Request, blobs: Blobs) -> dict[str, str]:
    """Take a whole object."""
    claims = _claims(request, SEND, ticket, oid)
    with blobs.draft() as draft:
        await _receive(request, draft, claims["size"])
        blob = await run_in_threadpool(
            draft.keep, expected_sha256=oid, expected_size=claims["size"]
        )
    await run_in_threadpool(_record, request, claims["adapter"], blob)
    return {"oid": oid}


@router.put("/api/lfs/parts/{oid}/{number}")
async def upload_part(
    oid: str, number: int, ticket: Ticket, request: Request, blobs: Blobs
) -> Response:
    """Take a part of an object. Its ETag must be sent back when the upload is completed."""
    claims = _claims(request, PART, ticket, oid)
    if not 1 <= number <= claims["parts"]:
        raise DigestMismatch(f"there is no part {number}; the upload has {claims['parts']}")
    with blobs.draft() as draft:
        await _receive(request, draft, _part_size(claims, number))
        digest = await run_in_threadpool(draft.keep_part, claims["upload"], number)
    return Response(status_code=200, headers={"ETag": f'"{digest}"'})


class PartIn(BaseModel):
    partNumber: int  # noqa: N815  (the name on the wire)
    etag: str


class CompleteIn(BaseModel):
    oid: Sha256
    parts: list[PartIn]


@router.post("/api/lfs/complete/{oid}")
def complete(
    oid: str, ticket: Ticket, body: CompleteIn, request: Request, blobs: Blobs
) -> dict[str, str]:
    """Put the parts together. When one is missing or wrong, the others stay for another try."""
    claims = _claims(request, COMPLETE, ticket, oid)
    etags = {part.partNumber: part.etag.strip('"') for part in body.parts}
    with blobs.draft() as draft:
        for number in range(1, claims["parts"] + 1):
            _append(draft, blobs, claims["upload"], number, etags.get(number))
        blob = draft.keep(expected_sha256=oid, expected_size=claims["size"])
    _record(request, claims["adapter"], blob)
    blobs.drop_parts(claims["upload"])
    return {"oid": oid}


@router.post("/api/lfs/verify/{oid}")
@reads_only
def verify(
    oid: str, ticket: Ticket, body: ObjectIn, request: Request, session: DatabaseSession
) -> dict[str, str]:
    """Confirm that the object arrived for this adapter."""
    claims = _claims(request, VERIFY, ticket, oid)
    blob = session.get(Blob, oid)
    if blob is None or session.get(Upload, (claims["adapter"], oid)) is None:
        raise BlobMissing(f"the bytes of {oid} have not arrived; send them again")
    if blob.size != body.size:
        raise DigestMismatch(f"{oid} has {blob.size:,} bytes, not {body.size:,}")
    return {"oid": oid}


@dataclass
class _Offers:
    """Makes the addresses by which objects may be sent for one adapter."""

    signer: Signer
    settings: Settings
    base: str
    adapter_id: int

    def offer(self, item: ObjectIn, *, in_parts: bool) -> dict[str, Any]:
        answer: dict[str, Any] = item.model_dump()
        if item.size > self.settings.file_limit:
            message = f"a file may have {self.settings.file_limit:,} bytes"
            return answer | {"error": {"code": 413, "message": message}}
        large = in_parts and item.size > self.settings.multipart_above
        action = self._parts(item) if large else {"href": self._address(SEND, "objects", item)}
        verify = {"href": self._address(VERIFY, "verify", item)}
        return answer | {"actions": {"upload": action, "verify": verify}}

    def _parts(self, item: ObjectIn) -> dict[str, Any]:
        size = self.settings.part_size
        count = ceil(item.size / size)
        claims = {"upload": secrets.token_hex(16), "parts": count, "part_size": size}
        address = self._address(PART, "parts", item, **claims)
        path, query = address.split("?")
        parts = {f"{n:05d}": f"{path}/{n}?{query}" for n in range(1, count + 1)}
        return {
            "href": self._address(COMPLETE, "complete", item, **claims),
            "header": {"chunk_size": str(size), **parts},
        }

    def _address(self, purpose: str, path: str, item: ObjectIn, **claims: Any) -> str:
        ticket = self.signer.sign(
            purpose, adapter=self.adapter_id, oid=item.oid, size=item.size, **claims
        )
        # In the query, which is never logged.
        return f"{self.base}/api/lfs/{path}/{item.oid}?ticket={ticket}"


def _claims(request: Request, purpose: str, ticket: str, oid: str) -> Mapping[str, Any]:
    signer: Signer = request.app.state.signer
    claims = signer.verify(purpose, ticket)
    if claims["oid"] != oid:
        raise NotAllowed("this upload address is for another object")
    return claims


async def _receive(request: Request, draft: Draft, size: int) -> None:
    """Write the body to a draft. Raises DigestMismatch as soon as it cannot be `size` bytes."""
    announced = request.headers.get("Content-Length")
    if announced is not None and int(announced) != size:
        raise DigestMismatch(f"the request has {announced} bytes where {size} were announced")
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if draft.size + len(waiting) > size:
            raise DigestMismatch(f"more than the {size:,} bytes announced arrived; send it again")
        if len(waiting) >= WRITE:
            await run_in_threadpool(draft.write, bytes(waiting))
            waiting.clear()
    await run_in_threadpool(draft.write, bytes(waiting))


def _part_size(claims: Mapping[str, Any], number: int) -> int:
    left = claims["size"] - (number - 1) * claims["part_size"]
    return int(min(left, claims["part_size"]))


def _append(draft: Draft, blobs: BlobStore, upload: str, number: int, etag: str | None) -> None:
    digest = hashlib.sha256()
    for chunk in blobs.read_part(upload, number):
        digest.update(chunk)
        draft.write(chunk)
    if digest.hexdigest() != etag:
        raise DigestMismatch(f"part {number} is not the one named by its etag; send it again")


def _record(request: Request, adapter_id: int, blob: StoredBlob) -> None:
    with request.app.state.sessions.begin() as session:
        adapter = session.get_one(Adapter, adapter_id)
        with quotas.enforced(session, adapter.owner, request.app.state.settings.quotas):
            uploads.receive(session, request.app.state.blobs, adapter, [blob])


def _answer(body: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE)
