"""Bytes by their sha256. What `keep` returned is durable; nothing else is ever visible.

A blob is first written to a draft: a temporary file that is hashed as it grows. Only when its size
and digest are those announced does it get its final name, so that a cut upload leaves nothing.

    sha256/ab/abcdef...      a blob
    parts/<upload>/00001     a part of an upload that is not complete yet
"""

import hashlib
import io
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile, mkstemp
from typing import BinaryIO, Protocol, Self, cast

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url
from typing_extensions import Buffer

from registry.acceptance import sniff
from registry.errors import BlobMissing, DigestMismatch

CHUNK = 1 << 20
HEAD = 512
"""Bytes from which a file's type is recognised."""


@dataclass(frozen=True)
class StoredBlob:
    """A durable blob."""

    sha256: str
    size: int
    git_sha1: str
    """The id that git would give to the same bytes."""
    seen: str
    """What the first bytes show (`acceptance.sniff`)."""


class Source(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class BlobStore(ABC):
    """Where blobs are kept. Two implementations: a folder, and a bucket."""

    @abstractmethod
    def draft(self) -> "Draft":
        """Begin a new blob, of unknown content; use it in a `with`."""

    @abstractmethod
    def exists(self, sha256: str) -> bool: ...

    @abstractmethod
    def stream(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`.

        Raises BlobMissing before the first byte if there is no such blob.
        """

    @abstractmethod
    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading and seeking. Raises BlobMissing."""

    @abstractmethod
    def delete(self, sha256: str) -> None:
        """Remove a blob, if it is there. Whether it is still needed is the caller's affair."""

    @abstractmethod
    def signed_url(self, sha256: str, lifetime: timedelta) -> str | None:
        """Return an address from which anybody may read the blob for a while, if there is one."""

    @abstractmethod
    def read_part(self, upload: str, number: int) -> Iterator[bytes]:
        """Raises BlobMissing when that part never arrived."""

    @abstractmethod
    def drop_parts(self, upload: str) -> None: ...

    def store(
        self,
        source: Source | Iterable[bytes],
        *,
        expected_sha256: str | None = None,
        expected_size: int | None = None,
    ) -> StoredBlob:
        """Store a stream's bytes. Raises DigestMismatch, and keeps nothing, if they differ."""
        with self.draft() as draft:
            for chunk in chunks_of(source):
                draft.write(chunk)
            return draft.keep(expected_sha256=expected_sha256, expected_size=expected_size)

    def read(self, sha256: str) -> bytes:
        """Return a whole blob; for small ones."""
        return b"".join(self.stream(sha256))


class Draft(ABC):
    """A blob being written. Leaving the `with` without `keep` removes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = 0
        self.head = b""
        self._sha256 = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        if len(self.head) < HEAD:
            self.head += chunk[: HEAD - len(self.head)]
        self._sha256.update(chunk)
        self.size += len(chunk)
        self.file.write(chunk)

    def keep(
        self, *, expected_sha256: str | None = None, expected_size: int | None = None
    ) -> StoredBlob:
        """Make the blob durable under its digest.

        Raises DigestMismatch if the bytes written are not those the caller was told of.
        """
        sha256 = self._sha256.hexdigest()
        if expected_size is not None and self.size != expected_size:
            raise DigestMismatch(
                f"{self.size:,} bytes arrived where {expected_size:,} were announced; "
                "the upload was cut, send it again"
            )
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise DigestMismatch(
                f"the bytes received have sha256 {sha256}, announced was {expected_sha256}; "
                "they changed on their way, send them again"
            )
        self.file.flush()
        blob = StoredBlob(sha256, self.size, self._git_sha1(), sniff(self.head))
        self._publish(sha256)
        return blob

    def keep_part(self, upload: str, number: int) -> str:
        """Keep this as a part of a larger upload until that is complete; return its sha256.

        A part sent twice replaces the first.
        """
        self.file.flush()
        self._publish_part(upload, number)
        return self._sha256.hexdigest()

    def _git_sha1(self) -> str:
        # Git puts the size before the content, and only now is the size known: a second reading.
        self.file.seek(0)
        digest = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        for chunk in chunks_of(self.file):
            digest.update(chunk)
        return digest.hexdigest()

    @abstractmethod
    def _publish(self, sha256: str) -> None: ...

    @abstractmethod
    def _publish_part(self, upload: str, number: int) -> None: ...

    @abstractmethod
    def _discard(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the draft, unless it was kept."""
        self.file.close()
        self._discard()


def open_blobs(url: str | None, folder: Path) -> BlobStore:
    """Open the store at a bucket's URL, or without one in a folder."""
    return FolderBlobs(folder) if url is None else BucketBlobs(from_url(url))


def chunks_of(source: Source | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, Iterable) and not hasattr(source, "read"):
        yield from source
        return
    while chunk := cast("Source", source).read(CHUNK):
        yield chunk


# --- a folder ------------------------------------------------------------------------------------


class FolderBlobs(BlobStore):
    """Blobs as files. Drafts lie on the same file system, so that a rename is atomic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drafts = folder / "drafts"
        self.drafts.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / "sha256" / sha256[:2] / sha256

    def draft(self) -> "Draft":
        return _FileDraft(self)

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def stream(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        # Opened here and not by the first `next`, so that a missing blob is still an HTTP error.
        return _slice(self.open(sha256), start, end)

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError as error:
            raise BlobMissing(f"the store has no blob {sha256}") from error

    def delete(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def signed_url(self, sha256: str, lifetime: timedelta) -> str | None:
        return None

    def read_part(self, upload: str, number: int) -> Iterator[bytes]:
        try:
            return _slice(self.part(upload, number).open("rb"), 0, None)
        except FileNotFoundError as error:
            raise BlobMissing(f"part {number} of the upload never arrived; send it") from error

    def drop_parts(self, upload: str) -> None:
        shutil.rmtree(self.part(upload, 1).parent, ignore_errors=True)

    def part(self, upload: str, number: int) -> Path:
        return self.folder / "parts" / upload / f"{number:05d}"


class _FileDraft(Draft):
    def __init__(self, store: FolderBlobs) -> None:
        descriptor, name = mkstemp(dir=store.drafts)
        super().__init__(os.fdopen(descriptor, "w+b"))
        self.store = store
        self.path = Path(name)

    def _publish(self, sha256: str) -> None:
        final = self.store.path(sha256)
        if not final.parent.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            _sync_folder(final.parent.parent)
        # Replacing an equal blob is harmless, and repairs one that was damaged on disk.
        self._rename(final)

    def _publish_part(self, upload: str, number: int) -> None:
        final = self.store.part(upload, number)
        final.parent.mkdir(parents=True, exist_ok=True)
        self._rename(final)

    def _rename(self, final: Path) -> None:
        os.fsync(self.file.fileno())
        self.path.replace(final)
        _sync_folder(final.parent)

    def _discard(self) -> None:
        self.path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only when the folder that holds the name is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _slice(file: BinaryIO, start: int, end: int | None) -> Iterator[bytes]:
    def read() -> Iterator[bytes]:
        with closing(file):
            file.seek(start)
            left = None if end is None else end - start
            while left is None or left > 0:
                chunk = file.read(CHUNK if left is None else min(CHUNK, left))
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk

    return read()


# --- a bucket ------------------------------------------------------------------------------------


class BucketBlobs(BlobStore):
    """Blobs as objects of S3, GCS or Azure.

    A draft is a local temporary file: its digest, which is its name, is known only at its end. An
    object appears whole or not at all; writing an equal one twice changes nothing.
    """

    def __init__(self, bucket: ObjectStore) -> None:
        self.bucket = bucket

    def draft(self) -> "Draft":
        return _BucketDraft(self)

    def exists(self, sha256: str) -> bool:
        try:
            obstore.head(self.bucket, _key(sha256))
        except (NotFoundError, FileNotFoundError):
            return False
        return True

    def stream(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        return self._stream(_key(sha256), start, end, f"the store has no blob {sha256}")

    def open(self, sha256: str) -> BinaryIO:
        try:
            return io.BufferedReader(_Object(obstore.open_reader(self.bucket, _key(sha256))))
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissing(f"the store has no blob {sha256}") from error

    def delete(self, sha256: str) -> None:
        try:
            obstore.delete(self.bucket, _key(sha256))
        except (NotFoundError, FileNotFoundError):
            return

    def signed_url(self, sha256: str, lifetime: timedelta) -> str | None:
        if not isinstance(self.bucket, S3Store | GCSStore | AzureStore):
            return None
        return obstore.sign(self.bucket, "GET", _key(sha256), lifetime)

    def read_part(self, upload: str, number: int) -> Iterator[bytes]:
        missing = f"part {number} of the upload never arrived; send it"
        return self._stream(f"parts/{upload}/{number:05d}", 0, None, missing)

    def drop_parts(self, upload: str) -> None:
        for batch in obstore.list(self.bucket, f"parts/{upload}/"):
            obstore.delete(self.bucket, [entry["path"] for entry in batch])

    def _stream(self, key: str, start: int, end: int | None, missing: str) -> Iterator[bytes]:
        try:
            size = obstore.head(self.bucket, key)["size"]
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissing(missing) from error
        end = size if end is None else min(end, size)
        if start >= end:
            return iter(())
        result = obstore.get(self.bucket, key, options={"range": (start, end)})
        return (bytes(chunk) for chunk in result.stream(CHUNK))


class _Reader(Protocol):
    def read(self, size: int | None = ..., /) -> Buffer: ...

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class _Object(io.RawIOBase):
    """An object of a bucket as Python reads files."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = bytes(self.reader.read(len(view)))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self.reader.seek(offset, whence)


class _BucketDraft(Draft):
    def __init__(self, store: BucketBlobs) -> None:
        super().__init__(cast("BinaryIO", TemporaryFile()))  # noqa: SIM115  (closed by __exit__)
        self.store = store

    def _publish(self, sha256: str) -> None:
        if not self.store.exists(sha256):
            self._put(_key(sha256))

    def _publish_part(self, upload: str, number: int) -> None:
        self._put(f"parts/{upload}/{number:05d}")

    def _put(self, key: str) -> None:
        self.file.seek(0)
        obstore.put(self.store.bucket, key, self.file)

    def _discard(self) -> None:
        """The temporary file has no name and went with its descriptor."""


def _key(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256}"
