"""Folders that `pull` and `swap` write: whole or not at all.

an adapter     its files, and hub_origin.json (where they came from)
a set-up       hub_lock.json      what to load, every part pinned; its canonical bytes
               hub_recipe.json    what was asked for
               adapter_setup.json the composition, in AdapterHub's format; slots are the names
               <slot>/            one adapter folder per slot
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cli.failures import Failure
from registry import strictjson

LOCK, RECIPE, SETUP, ORIGIN = (
    "hub_lock.json",
    "hub_recipe.json",
    "adapter_setup.json",
    "hub_origin.json",
)
BASE = "hub_base.json"
"""The base model's registration, which `save_adapter` writes and `push` sends apart."""

SIDECARS = frozenset({ORIGIN, BASE})
"""Files of an adapter folder that are no part of the adapter, so they are never uploaded."""

_SLOT = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_.@-]*")
_JSON_LIMIT = 64 * 1024 * 1024


def check_target(target: Path, *, force: bool) -> None:
    """Refuse a target that holds anything, unless it was pulled before and `force` is given."""
    if not target.exists():
        return
    if not target.is_dir():
        raise Failure(f"{target} is a file", hint="name another folder with --to")
    if not any(target.iterdir()):
        return
    if not force:
        raise Failure(
            f"{target} exists and is not empty",
            hint="name another folder with --to, or replace this one with --force",
        )
    if not any((target / name).exists() for name in (ORIGIN, LOCK)):
        raise Failure(
            f"{target} was not written by `hubctl pull`, so --force does not delete it",
            hint="remove it yourself, or name another folder with --to",
        )


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the target's place when the block ends without an error.

    It lies beside the target, so that the last step is a rename. If the machine stops between the
    two renames, the former folder is found beside it under a name that says so.
    """
    target = target.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.new-"))
    except OSError as error:
        raise Failure(
            f"cannot write to {target.parent}: {(error.strerror or '').lower()}"
        ) from error
    try:
        draft.chmod(0o777 & ~_umask())  # mkdtemp's 0700 is for secrets
        yield draft
        _exchange(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _exchange(draft: Path, target: Path) -> None:
    former = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old-"))
    with suppress(FileNotFoundError):
        target.rename(former)  # over the empty folder just made, so the name is surely ours
    try:
        draft.rename(target)
    except OSError as error:
        if not target.exists():
            former.rename(target)
            raise
        shutil.rmtree(former)
        raise Failure(
            f"another command wrote {target} at the same time; what it wrote is there",
            hint="run this one again if that is not what you want",
        ) from error
    shutil.rmtree(former)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links where the file system has them: the bytes do not change."""
    shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_origin(folder: Path, *, ref: str, content: str, revision: str, endpoint: str) -> None:
    origin = {"ref": ref, "content": content, "revision": revision, "endpoint": endpoint}
    write_json(folder / ORIGIN, origin)


def write_json(path: Path, document: Any) -> None:
    path.unlink(missing_ok=True)  # it may be a hard link to the former folder's file
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_canonical(path: Path, document: Any) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(strictjson.canonical(document))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file is an error that names it."""
    try:
        document = strictjson.loads(path.read_bytes(), limit=_JSON_LIMIT)
    except FileNotFoundError:
        raise Failure(f"{path} does not exist") from None
    except ValueError as error:
        raise Failure(f"{path} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise Failure(f"{path} holds no JSON object")
    return document


def read_lock(path: Path) -> dict[str, Any]:
    """Read a lock: a file, or the folder of a set-up that holds one."""
    if path.is_dir():
        if not (path / LOCK).exists():
            raise Failure(
                f"{path} is not a set-up folder: it has no {LOCK}",
                hint="`hubctl pull --base NAME 'Stack(...)' --to FOLDER` writes one",
            )
        path /= LOCK
    lock = read_json(path)
    if lock.get("schema") != "hub.lock/1":
        raise Failure(f"{path} is not a lock of this hub: its schema is {lock.get('schema')!r}")
    return lock


def origin(folder: Path) -> Mapping[str, Any]:
    """Return where a folder was pulled from; empty when it was not."""
    path = folder / ORIGIN
    return read_json(path) if path.is_file() else {}


def check_slot(name: str) -> str:
    """Refuse a slot name that would leave the folder: it becomes the name of a folder in it."""
    if not _SLOT.fullmatch(name):
        raise Failure(f"{name!r} cannot be the name of a slot: use letters, digits, '_', '-', '.'")
    return name


def check_path(path: str) -> str:
    """Refuse a path that would leave the folder, whoever sent it."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        raise Failure(f"the hub names a file {path!r}, which lies outside the adapter")
    return path
