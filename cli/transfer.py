"""Moving files to and from a hub, with huggingface_hub: its cache, its resumption, its parallelism.

`hubctl` speaks to one hub by name and lets the environment alone: the endpoint travels with each
call, and the token is that of `hubctl` or none, never one stored for another hub.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2

from cli.failures import Failure
from cli.folders import check_path
from registry.client import HubClient, HubUnreachable, read_error

CHUNK = 1024 * 1024


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub announced it."""

    path: str
    sha256: str
    size: int


def files_of(listing: Mapping[str, Mapping[str, Any]]) -> list[RemoteFile]:
    """Read the `files` of a locked slot."""
    return [
        RemoteFile(check_path(path), str(facts["sha256"]).removeprefix("sha256:"), facts["size"])
        for path, facts in sorted(listing.items())
    ]


def upload(
    client: HubClient,
    name: str,
    files: Mapping[str, Path],
    *,
    branch: str,
    message: str,
    private: bool,
) -> str:
    """Create the adapter when missing, commit the files to a branch, and return the revision."""
    hub = huggingface_hub()
    api = hub.HfApi(
        endpoint=client.endpoint,
        token=client.token or False,
        library_name="hubctl",  # by which a server knows that large files may come as a stream
        library_version=version("hubctl"),
    )
    operations = [
        hub.CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(local))
        for path, local in files.items()
    ]
    with _translated(client.endpoint):
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.create_commit(name, operations, commit_message=message, revision=branch)
    return str(commit.oid)


def download(
    client: HubClient, name: str, revision: str, files: Sequence[RemoteFile], target: Path
) -> None:
    """Put the files of a revision into a folder, each checked against its announced sha256.

    What huggingface_hub has in its cache is not fetched again, but it is checked all the same: Hub
    clients compare sizes only. A damaged copy in the cache is fetched once more.
    """
    hub = huggingface_hub()
    wanted: dict[str, Any] = {
        "revision": revision,
        "endpoint": client.endpoint,
        "token": client.token or False,
    }
    with _translated(client.endpoint):
        snapshot = Path(
            hub.snapshot_download(name, allow_patterns=[file.path for file in files], **wanted)
        )
    for file in files:
        cached = snapshot / file.path
        if not cached.exists() or _sha256(cached) != file.sha256:
            with _translated(client.endpoint):
                cached = Path(hub.hf_hub_download(name, file.path, force_download=True, **wanted))
        _copy_checked(cached, target / file.path, file, name)


def intact(folder: Path, files: Sequence[RemoteFile]) -> bool:
    """Whether a folder holds these very files, bytes included."""
    return all(
        (folder / file.path).is_file() and _sha256(folder / file.path) == file.sha256
        for file in files
    )


def _copy_checked(source: Path, target: Path, file: RemoteFile, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:  # its own text names the source
        raise Failure(
            f"{file.path} cannot be written beside the folder to write: {error.strerror}; nothing "
            "was changed",
            hint="make room there, or name another folder with --to",
        ) from error
    if (found := _sha256(target)) != file.sha256:
        raise Failure(
            f"{name}: {file.path} arrived damaged (sha256 {found[:12]}…, "
            f"expected {file.sha256[:12]}…); nothing was written",
            hint="try again; if it stays so, the hub's copy is damaged: tell its operator",
            code="digest_mismatch",
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def huggingface_hub() -> ModuleType:
    """Import huggingface_hub set up for a hub that is not huggingface.co.

    It reads these settings when it is first imported. Without the first it would send large files
    in a way that reaches only a server of its own vendor.
    """
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub  # noqa: PLC0415  (only after the settings above)
    from huggingface_hub import constants  # noqa: PLC0415

    constants.HF_HUB_DISABLE_XET = True  # for a program that had imported it before us
    return huggingface_hub


@contextmanager
def _translated(endpoint: str) -> Iterator[None]:
    """Raise huggingface_hub's errors as those of our client, which carry code and hint."""
    try:
        yield
    except Exception as error:
        # An upload that fails is reported as a RuntimeError, and why only in its cause.
        cause = error.__cause__ if isinstance(error, RuntimeError) else None
        meant = _meaning(endpoint, error) or _meaning(endpoint, cause)
        if meant is None:
            raise
        raise meant from error


def _meaning(endpoint: str, error: BaseException | None) -> Exception | None:
    from huggingface_hub import errors  # noqa: PLC0415  (loaded by the caller already)

    if isinstance(error, errors.HfHubHTTPError):
        if error.response is None:
            return Failure(f"the hub did not answer as expected: {error}")
        return read_error(endpoint, error.response)
    if isinstance(error, errors.LocalEntryNotFoundError):
        return HubUnreachable(endpoint, "the files are not in the cache either")
    if isinstance(error, httpx2.TransportError):
        return HubUnreachable(endpoint, f"the connection broke ({error})")
    if isinstance(error, OSError) and error.filename is None and error.strerror:
        from huggingface_hub import constants  # noqa: PLC0415  (loaded as well)

        return Failure(
            f"cannot write to the cache {constants.HF_HUB_CACHE}: {error.strerror.lower()}",
            hint="make room there, or name another place with HF_HOME",
        )
    return None
