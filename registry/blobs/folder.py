"""Blobs as files of a folder."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from registry.blobs.store import CHUNK, BlobStore, Draft, Entry, told
from registry.errors import BlobMissing


class FolderBlobs(BlobStore):
    """Blobs as files. Drafts lie on the same file system, so that a rename is atomic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drafts = folder / "drafts"
        self.durable: set[Path] = set()
        """Folders of blobs whose own names this process has made durable."""
        _make_folder(self.drafts)
        _make_folder(folder / "sha256")

    def path(self, sha256: str) -> Path:
        return self.folder / "sha256" / sha256[:2] / sha256

    def make_room(self, folder: Path) -> None:
        """Make a folder of blobs, durably, also if another process just made it and has not yet."""
        if folder not in self.durable:
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
            self.durable.add(folder)

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

    def entries(self) -> Iterator[Entry]:
        for path in (self.folder / "sha256").glob("*/*"):
            with suppress(FileNotFoundError):  # collected meanwhile
                yield Entry(path.name, path.stat().st_size, _modified_at(path))

    def quarantine(self, sha256: str) -> None:
        aside = self.folder / "quarantine" / sha256
        aside.parent.mkdir(exist_ok=True)
        self.path(sha256).replace(aside)

    def sweep(self, before: datetime) -> int:
        gone = 0
        for path in self.drafts.iterdir():
            with suppress(FileNotFoundError):
                gone += _modified_at(path) < before and _remove_unless_open(path)
        for upload in (self.folder / "parts").glob("*"):
            parts = list(upload.iterdir())
            with suppress(FileNotFoundError):
                if all(_modified_at(path) < before for path in (upload, *parts)):
                    self.drop_parts(upload.name)
                    gone += len(parts)
        return gone


class _FileDraft(Draft):
    def __init__(self, store: FolderBlobs) -> None:
        with told():
            file, self.path = _open_draft(store.drafts)
        super().__init__(file)
        self.store = store

    def _publish(self, sha256: str) -> None:
        # Replacing an equal blob is harmless, and repairs one that was damaged on disk.
        final = self.store.path(sha256)
        self.store.make_room(final.parent)
        self._rename(final)

    def _publish_part(self, upload: str, number: int) -> None:
        final = self.store.part(upload, number)
        final.parent.mkdir(parents=True, exist_ok=True)
        self._rename(final)

    def _rename(self, final: Path) -> None:
        os.fsync(self.file.fileno())
        self.path.replace(final)
        sync_folder(final.parent)

    def _discard(self) -> None:
        self.path.unlink(missing_ok=True)


def _open_draft(folder: Path) -> tuple[BinaryIO, Path]:
    """Make a file that is locked for as long as this process has it open, however that ends."""
    while True:
        descriptor, name = mkstemp(dir=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # else a sweep came between the two
            return os.fdopen(descriptor, "w+b"), Path(name)
        os.close(descriptor)


def _remove_unless_open(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()
    return True


def _modified_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
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
