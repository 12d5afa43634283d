"""Where an adapter is: a folder on this machine, or a repository on a hub."""

import inspect
import re
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from adapters_runtime.errors import FormatError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_OPTIONS = frozenset(inspect.signature(snapshot_download).parameters)


def located(source: str | Path, version: str | None = None, **download: Any) -> Path:
    """Return the folder of that name, or that of a hub's repository, fetched first.

    `version` is a branch, tag or commit of the repository. The hub is that of HF_ENDPOINT, with the
    token and the cache of `huggingface_hub`; `download` goes to its `snapshot_download`. Raises
    FormatError when the hub has no such repository or version.
    """
    if unknown := sorted(set(download) - _OPTIONS):
        raise TypeError(f"unexpected arguments: {', '.join(unknown)}")
    folder = Path(source)
    if folder.exists() or isinstance(source, Path) or not _REPOSITORY.fullmatch(source):
        return folder
    try:
        return Path(snapshot_download(source, revision=version, **download))
    except (RepositoryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError) as error:
        where = f"{source} at {version}" if version else source
        raise FormatError(
            f"{where} is no folder here, and cannot be had from {constants.ENDPOINT}: {error}"
        ) from error
