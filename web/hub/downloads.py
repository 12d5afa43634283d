"""Hub protocol: the contents of files, whole or in ranges."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from registry import revisions
from registry.blobs import BlobStore
from registry.models import Revision, RevisionFile
from web.deps import AppSettings, Blobs, DatabaseSession, Quoted
from web.hub.repository import VisibleAdapter

router = APIRouter(include_in_schema=False)

COUNTED = "adapter_config.json"
"""Every client that loads an adapter fetches this one file, once."""
COUNTER_SINCE = (1, 33)
"""From this version on clients mark real downloads with a header; older ones are all counted."""

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CLIENT = re.compile(r"hf_hub/(\d+)\.(\d+)")


@router.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def resolve(
    *,
    adapter: VisibleAdapter,
    revision: Quoted,
    path: str,
    session: DatabaseSession,
    request: Request,
    store: Blobs,
    settings: AppSettings,
) -> Response:
    """Send a file. A HEAD tells all a client needs to find it in its cache."""
    found = revisions.resolve_revision(session, adapter, revision)
    file = revisions.find_file(adapter, found, path.replace("%2F", "/"))
    headers = _headers(found, file)
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    wanted = _range(request, file.blob.size, headers["ETag"])
    if wanted is None:
        headers |= {"Content-Range": f"bytes */{file.blob.size}"}
        return Response(status_code=416, headers=headers)
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(file.blob.size)})
    if _is_download(request, path, wanted):
        request.state.event = "download"
        request.app.state.downloads.add(adapter.id)
    if settings.redirect_downloads:
        lifetime = timedelta(seconds=settings.upload_lifetime)
        if (address := store.signed_url(file.sha256, lifetime)) is not None:
            return RedirectResponse(address, status_code=302, headers=headers)
    return _content(store, file, wanted, headers)


@dataclass(frozen=True)
class Span:
    """Bytes `start` up to, not including, `end`."""

    start: int
    end: int
    partial: bool


def _headers(revision: Revision, file: RevisionFile) -> dict[str, str]:
    etag = file.sha256 if file.large else file.blob.git_sha1
    name = file.path.rpartition("/")[2]
    return {
        "X-Repo-Commit": revision.id,
        "ETag": f'"{etag}"',
        "X-Linked-ETag": f'"{etag}"',
        "X-Linked-Size": str(file.blob.size),
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
        # Files are strangers': a browser must neither show nor run them as pages of ours.
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }


def _range(request: Request, size: int, etag: str) -> Span | None:
    """Return which bytes are wanted; None if there are no such bytes."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or match[0] == "bytes=-" or request.headers.get("If-Range", etag) != etag:
        return Span(0, size, partial=False)  # also for several ranges: whoever asks can take all
    first, last = match[1], match[2]
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return Span(start, end, partial=True) if start < end else None


def _content(
    store: BlobStore, file: RevisionFile, wanted: Span, headers: dict[str, str]
) -> Response:
    headers = headers | {"Content-Length": str(wanted.end - wanted.start)}
    if wanted.partial:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.end - 1}/{file.blob.size}"
    content: Iterator[bytes] = store.stream(file.sha256, wanted.start, wanted.end)
    return StreamingResponse(content, status_code=206 if wanted.partial else 200, headers=headers)


def _is_download(request: Request, path: str, wanted: Span) -> bool:
    if path != COUNTED or wanted.partial:
        return False
    match = _CLIENT.search(request.headers.get("User-Agent", ""))
    marks = match is not None and (int(match[1]), int(match[2])) >= COUNTER_SINCE
    return "X-HF-Download-Counter" in request.headers or not marks
