"""What a store of blobs is, and how a blob is written."""

import errno
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol, Self, cast

from obstore.exceptions import BaseError

from registry.acceptance import sniff
from registry.errors import DigestMismatch, StorageFailed, StorageFull

CHUNK = 1 << 20
HEAD = 512
"""Bytes from which a file's type is recognised."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class StoredBlob:
    """A durable blob."""

    sha256: str
    size: int
    git_sha1: str
    """The id that git would give to the same bytes."""
    seen: str
    """What the first bytes show (`acceptance.sniff`)."""


@dataclass(frozen=True)
class Entry:
    """What lies in the store under a digest, whoever knows of it."""

    sha256: str
    size: int
    modified_at: datetime


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

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Yield everything that has its final name."""

    @abstractmethod
    def quarantine(self, sha256: str) -> None:
        """Move bytes that are not what their name says out of the way, for somebody to look at."""

    @abstractmethod
    def sweep(self, before: datetime) -> int:
        """Remove drafts that nobody writes any more, and parts of uploads last sent to before then.

        Returns how many files or objects went.
        """

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
        with told():
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
        with told():
            self.file.flush()
            blob = StoredBlob(sha256, self.size, self._git_sha1(), sniff(self.head))
            self._publish(sha256)
        return blob

    def keep_part(self, upload: str, number: int) -> str:
        """Keep this as a part of a larger upload until that is complete; return its sha256.

        A part sent twice replaces the first.
        """
        with told():
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
        try:
            self.file.close()
        except OSError:  # it cannot be written to the end, and need not be
            pass
        finally:
            self._discard()


@contextmanager
def told() -> Iterator[None]:
    """Say in words what kept bytes from being stored."""
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in FULL else StorageFailed
        raise kind(error.strerror or str(error)) from error
    except BaseError as error:
        raise StorageFailed(str(error)) from error


def chunks_of(source: Source | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, Iterable) and not hasattr(source, "read"):
        yield from source
        return
    while chunk := cast("Source", source).read(CHUNK):
        yield chunk
