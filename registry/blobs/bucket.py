"""Blobs as objects of S3, GCS or Azure."""

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol, cast

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store
from typing_extensions import Buffer

from registry.blobs.store import CHUNK, BlobStore, Draft, Entry
from registry.errors import BlobMissing


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

    def entries(self) -> Iterator[Entry]:
        for batch in obstore.list(self.bucket, "sha256/"):
            for item in batch:
                sha256 = item["path"].rpartition("/")[2]
                yield Entry(sha256, item["size"], item["last_modified"])

    def quarantine(self, sha256: str) -> None:
        obstore.rename(self.bucket, _key(sha256), f"quarantine/{sha256}")

    def sweep(self, before: datetime) -> int:
        uploads: dict[str, list[datetime]] = {}
        for batch in obstore.list(self.bucket, "parts/"):
            for item in batch:
                uploads.setdefault(item["path"].split("/")[1], []).append(item["last_modified"])
        abandoned = {name: times for name, times in uploads.items() if max(times) < before}
        for name in abandoned:
            self.drop_parts(name)
        return sum(map(len, abandoned.values()))

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
        # Also when it is there: collecting garbage goes by age, and damage is repaired.
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
