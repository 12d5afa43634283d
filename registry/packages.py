"""An adapter's files, be they in a folder of a client or in a revision on the server."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from registry import strictjson
from registry.errors import InvalidPackage
from registry.schemas import FileEntry

MOST_FILES = 64
LARGEST_CONFIGURATION = 4 << 20
"""A language pack lists the ids of its tokens: up to a few hundred thousand numbers."""

_IGNORED_FOLDERS = frozenset({"__pycache__"})
_DOT_FILES = frozenset({".gitattributes"})


@dataclass
class Check:
    """What a check has found so far. Nothing is reported singly: people mend all at once."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, file: str, text: str) -> None:
        line = f"{file}: {text}"
        if line not in self.problems:
            self.problems.append(line)

    def warn(self, file: str, text: str) -> None:
        self.warnings.append(f"{file}: {text}")

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what the block raises as InvalidPackage, and go on behind it."""
        try:
            yield
        except InvalidPackage as error:
            self.problems += error.problems

    def stop_if_any(self) -> None:
        """Raises InvalidPackage with every problem found until now."""
        if self.problems:
            raise InvalidPackage(self.problems)


@dataclass(frozen=True)
class PackageFile:
    """One file. `sha256` is given where it is known, so that nobody hashes twice."""

    size: int
    open: Callable[[], BinaryIO]
    sha256: str | None = None


@dataclass(frozen=True)
class Package:
    """Files by their path, which is relative and has `/` between its parts."""

    files: Mapping[str, PackageFile]

    @classmethod
    def from_folder(cls, folder: Path) -> "Package":
        """See a folder as a package. Hidden files and caches are no part of it.

        Raises InvalidPackage if there is no such folder, or nothing in it.
        """
        if not folder.is_dir():
            raise InvalidPackage([f"{folder} is not a folder; give one that save_adapter wrote"])
        files = {
            path.relative_to(folder).as_posix(): PackageFile(
                path.stat().st_size, partial(_open, path)
            )
            for path in sorted(_visible_files(folder))
        }
        if not files:
            raise InvalidPackage([f"{folder} is empty; give a folder that save_adapter wrote"])
        return cls(files)

    @classmethod
    def from_files(cls, files: Mapping[str, PackageFile]) -> "Package":
        return cls(dict(sorted(files.items())))

    def __contains__(self, path: str) -> bool:
        return path in self.files

    def open(self, path: str) -> BinaryIO:
        return self.files[path].open()

    def read(self, path: str, *, limit: int) -> bytes:
        """Return a small file whole. Raises InvalidPackage if it is larger than `limit`."""
        size = self.files[path].size
        if size > limit:
            raise InvalidPackage([f"{path}: {size:,} bytes; at most {limit:,} are allowed"])
        with self.open(path) as stream:
            return stream.read()

    def read_json(
        self, path: str, *, limit: int = strictjson.LARGEST_DOCUMENT
    ) -> dict[str, object]:
        """Return a JSON object. Raises InvalidPackage naming the file and the place in it."""
        try:
            document = strictjson.loads(self.read(path, limit=limit), limit=limit)
        except strictjson.StrictJsonError as error:
            raise InvalidPackage([f"{path}: {error}"]) from error
        if not isinstance(document, dict):
            raise InvalidPackage([f"{path}: holds no JSON object"])
        return document

    def entries(self) -> dict[str, FileEntry]:
        """Return digest and size of every file; what is not known yet is hashed now."""
        return {
            path: FileEntry(sha256=file.sha256 or _sha256(file), size=file.size)
            for path, file in self.files.items()
        }


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _visible_files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if not path.name.startswith(".") and path.name not in _IGNORED_FOLDERS:
                yield from _visible_files(path)
        elif not path.name.startswith(".") or path.name in _DOT_FILES:
            yield path


def _sha256(file: PackageFile) -> str:
    digest = hashlib.sha256()
    with file.open() as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
