"""The body of a Hub commit, read as it arrives.

One JSON object per line. A file's content is base64 inside its line, and comes before its path; so
it is decoded to a draft in the store while it arrives, and never held in memory as a whole.

    {"key": "header", "value": {"summary": ..., "description": ..., "parentCommit": ...}}
    {"key": "file", "value": {"content": "<base64>", "path": ..., "encoding": "base64"}}
    {"key": "lfsFile", "value": {"path": ..., "algo": "sha256", "oid": ..., "size": ...}}
    {"key": "deletedFile", "value": {"path": ...}}
    {"key": "deletedFolder", "value": {"path": ...}}
"""

import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any, Self

from registry.blobs import BlobStore, Draft, StoredBlob
from registry.errors import UploadRefused, UploadTooLarge
from registry.revisions import Add, Delete, DeleteFolder, Operation

LONGEST_LINE = 1 << 20
"""Bytes of a line without its content."""
MOST_LINES = 10_000

# Inside a JSON text these quotes would be escaped, so only the key itself can match.
_CONTENT = re.compile(rb'"content"\s*:\s*"')
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class CommitBody:
    """What a commit asks for. The blobs are durable, and not attached to anything yet."""

    summary: str = ""
    description: str = ""
    parent: str | None = None
    operations: list[Operation] = field(default_factory=list)
    stored: list[StoredBlob] = field(default_factory=list)


class CommitReader:
    """Fed with the bytes of the body; a `with` around it drops the content of a cut one."""

    def __init__(self, blobs: BlobStore, inline_limit: int, *, large_above: int) -> None:
        self.body = CommitBody()
        self._blobs = blobs
        self._inline_limit = inline_limit
        self._large_above = large_above
        self._lines = 0
        self._waiting = bytearray()
        """Bytes of this line, outside of content, that are not used up yet."""
        self._content: _Content | None = None
        """That of the present line, from its first byte until the line ends."""
        self._in_content = False
        self._line_start = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._content is not None:
            self._content.draft.close()

    def feed(self, data: bytes) -> None:
        """Raises UploadRefused or UploadTooLarge as soon as it is clear."""
        self._waiting += data
        while self._in_content or b"\n" in self._waiting or self._content_begins():
            if not (self._feed_content() if self._in_content else self._feed_line()):
                return
        if len(self._waiting) > LONGEST_LINE:
            raise UploadTooLarge(
                f"a line of the commit has over {LONGEST_LINE:,} bytes of metadata"
            )

    def finish(self) -> CommitBody:
        """Return what was read. Raises UploadRefused if the body ends inside a file."""
        if self._in_content:
            raise UploadRefused("the commit ends in the middle of a file; send it again")
        if self._waiting.strip():
            self.feed(b"\n")
        if self._lines == 0:
            raise UploadRefused("the commit is empty: it has not even a header")
        return self.body

    def _content_begins(self) -> bool:
        return self._content is None and _CONTENT.search(self._waiting) is not None

    def _feed_line(self) -> bool:
        """Use up a line, or its part up to the content. Return whether to go on."""
        end = self._waiting.find(b"\n")
        found = _CONTENT.search(self._waiting) if self._content is None else None
        if found is not None and (end < 0 or found.start() < end):
            # The line goes on with an empty content in place of the real one.
            self._content = _Content(self._blobs.draft())
            self._line_start = bytes(self._waiting[: found.end()])
            del self._waiting[: found.end()]
            self._in_content = True
            return True
        if end < 0:
            return False
        line = self._line_start + self._waiting[:end]
        self._line_start = b""
        del self._waiting[: end + 1]
        self._take(line)
        return True

    def _feed_content(self) -> bool:
        """Decode content up to its closing quote. Return whether the quote has come."""
        content = self._content
        assert content is not None
        end = self._waiting.find(b'"')
        piece = bytes(self._waiting if end < 0 else self._waiting[:end])
        del self._waiting[: len(piece)]
        content.write(piece)
        if content.draft.size > self._inline_limit:
            raise UploadTooLarge(
                f"a file of the commit has over {self._inline_limit:,} bytes; set "
                "HF_HUB_DISABLE_XET=1 and upload again, then it is sent beside the commit"
            )
        if end < 0:
            return False
        content.close()
        self._in_content = False
        return True

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        self._lines += 1
        if self._lines > MOST_LINES:
            raise UploadRefused(f"the commit has over {MOST_LINES:,} lines; send several commits")
        try:
            item = json.loads(line)
            self._operate(item["key"], item["value"])
        except UploadRefused:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise UploadRefused(f"line {self._lines} of the commit cannot be read") from error
        if self._content is not None:
            self._content.draft.close()
            self._content = None

    def _operate(self, key: str, value: dict[str, Any]) -> None:
        operations = self.body.operations
        match key:
            case "header":
                self.body.summary = str(value.get("summary", ""))
                self.body.description = str(value.get("description") or "")
                self.body.parent = value.get("parentCommit")
            case "file":
                operations.append(self._add_file(value))
            case "lfsFile":
                operations.append(_add_lfs_file(value))
            case "deletedFile":
                operations.append(Delete(_text(value["path"])))
            case "deletedFolder":
                operations.append(DeleteFolder(_text(value["path"]).rstrip("/")))
            case _:
                raise UploadRefused(f"the commit asks for {key!r}, which this hub does not know")

    def _add_file(self, value: dict[str, Any]) -> Add:
        path = _text(value["path"])
        if self._content is None or value.get("encoding", "base64") != "base64":
            raise UploadRefused(f"{path} came without content in base64")
        blob = self._content.draft.keep()
        self.body.stored.append(blob)
        large = path.endswith(".safetensors") or blob.size > self._large_above
        return Add(path, blob.sha256, large=large)


class _Content:
    """Base64 that arrives in pieces of any length."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._rest = b""

    def write(self, piece: bytes) -> None:
        piece = self._rest + piece
        whole = len(piece) - len(piece) % 4
        self._rest = piece[whole:]
        self._decode(piece[:whole])

    def close(self) -> None:
        self._decode(self._rest)

    def _decode(self, piece: bytes) -> None:
        try:
            self.draft.write(binascii.a2b_base64(piece, strict_mode=True) if piece else b"")
        except binascii.Error as error:
            raise UploadRefused(f"the content of a file is not base64: {error}") from error


def _add_lfs_file(value: dict[str, Any]) -> Add:
    path, oid = _text(value["path"]), _text(value["oid"])
    if value.get("algo", "sha256") != "sha256" or not _SHA256.fullmatch(oid):
        raise UploadRefused(f"{path} is named by something other than a sha256")
    return Add(path, oid, large=True)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
