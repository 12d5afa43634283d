"""Which files a revision may hold. They are opaque bytes to us, and never code.

A file must have a name we know and begin as files of that name do; the first bytes are looked at
once, when a blob is stored, and what was seen is kept with it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from registry.errors import UploadRefused

MIB = 1024 * 1024
TEXT, BINARY, SAFETENSORS = "text", "binary", "safetensors"

_TEXT_SUFFIXES = frozenset(
    {".csv", ".jinja", ".json", ".jsonl", ".md", ".tsv", ".txt", ".yaml", ".yml"}
)
_TEXT_NAMES = frozenset({".gitattributes", ".gitignore", "LICENSE", "LICENCE", "NOTICE"})
_TOKENIZER_SUFFIXES = frozenset({".bpe", ".model", ".spm", ".tiktoken", ".vocab"})
_PICKLE_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
)

_MAGIC = (
    ("pickle", re.compile(rb"\x80[\x02-\x05]")),
    ("zip archive", re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)")),
    ("gzip archive", re.compile(rb"\x1f\x8b")),
    ("NumPy array", re.compile(rb"\x93NUMPY")),
    ("HDF5 file", re.compile(rb"\x89HDF\r\n\x1a\n")),
    ("program", re.compile(rb"\x7fELF|MZ|#!")),
)
REFUSED = frozenset(name for name, _ in _MAGIC)

_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_LONGEST_PATH = 255


@dataclass(frozen=True)
class Limits:
    """How much a revision may hold."""

    file: int = 2 * 1024 * MIB
    revision_files: int = 2_000
    revision_bytes: int = 20 * 1024 * MIB


def sniff(head: bytes) -> str:
    """Return what begins like this: `text`, `safetensors`, `binary`, or one of `REFUSED`."""
    # First, as a header of 640 bytes begins with the same two bytes as a pickle.
    if head[5:9] == b"\0\0\0{":
        return SAFETENSORS
    for name, pattern in _MAGIC:
        if pattern.match(head):
            return name
    return BINARY if b"\0" in head else TEXT


def check_file(path: str, size: int, seen: str, limits: Limits) -> None:
    """Raises UploadRefused, with the remedy, if a revision may not hold this file.

    `seen` is what `sniff` made of its first bytes.
    """
    check_kind(path, seen)
    if size > limits.file:
        raise UploadRefused(f"{path} has {size:,} bytes; a file may have {limits.file:,}")


def check_kind(path: str, seen: str) -> None:
    """Raises UploadRefused, with the remedy, for a name or a kind of file that no hub takes."""
    check_path(path)
    _check_name(path)
    _check_bytes(path, seen)


def check_path(path: str) -> None:
    """Raises UploadRefused unless the path is relative, plain, and means the same everywhere."""
    if len(path) > _LONGEST_PATH:
        raise UploadRefused(
            f"the path {path[:60]!r}... has {len(path)} characters; {_LONGEST_PATH} are allowed"
        )
    segments = path.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise UploadRefused(
            f"the path {path!r} is not allowed: give it relative to the repository, "
            "without empty, '.' or '..' parts"
        )
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise UploadRefused(
            f"the path {path!r} is not allowed: use letters, digits, '.', '_', '-' and '/'"
        )


def check_tree(sizes: Mapping[str, int], limits: Limits) -> None:
    """Raises UploadRefused if these paths and sizes cannot be one revision."""
    if len(sizes) > limits.revision_files:
        raise UploadRefused(f"{len(sizes):,} files; a revision may hold {limits.revision_files:,}")
    if (total := sum(sizes.values())) > limits.revision_bytes:
        raise UploadRefused(f"{total:,} bytes; a revision may hold {limits.revision_bytes:,}")
    _check_unambiguous(sizes)


def _check_name(path: str) -> None:
    name = PurePosixPath(path)
    if name.suffix.lower() in _PICKLE_SUFFIXES:
        raise UploadRefused(
            f"{path} is a kind of file that can run code when it is loaded, so it is not taken. "
            "For weights, save with use_safetensors=True or run 'hubctl convert' on the folder; "
            f'leave other files out (ignore_patterns=["*{name.suffix}"])'
        )
    if name.name in _TEXT_NAMES or name.suffix == ".safetensors":
        return
    if name.suffix not in _TEXT_SUFFIXES | _TOKENIZER_SUFFIXES:
        raise UploadRefused(
            f"{path} is not a kind of file this hub takes; it takes safetensors, JSON, Markdown, "
            "text, YAML and tokenizer files"
        )


def _check_bytes(path: str, seen: str) -> None:
    suffix = PurePosixPath(path).suffix
    if suffix == ".safetensors":
        allowed = seen == SAFETENSORS
    elif suffix in _TOKENIZER_SUFFIXES:
        allowed = seen not in REFUSED
    else:
        allowed = seen == TEXT
    if not allowed:
        remedy = "; save with use_safetensors=True" if suffix == ".safetensors" else ""
        what = "nothing that its name promises" if seen in {TEXT, BINARY} else f"a {seen}"
        raise UploadRefused(f"{path} holds {what} by its first bytes{remedy}")


def _check_unambiguous(paths: Iterable[str]) -> None:
    # On a case-insensitive disk, or where a file is also a folder, one would overwrite the other.
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(path.lower(), path)
        if other is not path:
            raise UploadRefused(f"{other} and {path} differ only in case")
    for path in paths:
        for parent in PurePosixPath(path.lower()).parents:
            if (file := seen.get(str(parent))) is not None:
                raise UploadRefused(f"{file} cannot be a file and the folder of {path} at once")
