"""The folder of a prediction head alone, without an adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_runtime import identity
from adapters_runtime.errors import FormatError, HeadNotFound
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import files, heads, hub_files
from adapters_runtime.io.folder import description
from adapters_runtime.io.staging import staged

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save(model: "PreTrainedModel", target: Path, name: str | None) -> None:
    """Write one head; without a name the active one, or the one that the model was built with.

    In the folder of an adapter or fusion it goes with that, of which all that is said there stays.
    """
    name = name or getattr(model, "active_head", None)
    bank = bank_of(model)
    base = identity.base_identity(model, bank.tokenizer, **bank.base_name)
    alone = not any((target / config).is_file() for config in (files.CONFIG, files.FUSION_CONFIG))
    with staged(target, (*files.HEAD_FILES, *(files.HUB_FILES if alone else ()))) as folder:
        write(model, folder, name)
        if alone:
            files.write_json(folder / files.HUB, hub_files.hub_head(model, str(name), base))
            files.write_json(folder / files.HUB_BASE, hub_files.hub_base(model, base))


def write(model: "PreTrainedModel", folder: Path, name: str | None) -> None:
    """Write what is a head's alone; raises HeadNotFound."""
    flexible = getattr(model, "heads", None)
    if flexible is None and not heads.static_head(model):
        raise HeadNotFound(str(name))
    if flexible is not None and (not isinstance(name, str) or name not in flexible):
        raise HeadNotFound(str(name), tuple(flexible))
    heads.save(model, folder, str(name), description(model, name))


def is_one(source: Path) -> bool:
    """Return whether a folder holds a head."""
    return (source / files.HEAD_CONFIG).is_file()


def save_all(model: "PreTrainedModel", target: Path) -> None:
    """Write each head to a folder of its own; slashes in names do not nest folders."""
    for name in getattr(model, "heads", {}):
        save(model, files.folder_within(target, name), name)


def load(
    model: "PreTrainedModel",
    source: Path,
    load_as: str | None = None,
    id2label: Mapping[int, str] | None = None,
) -> str:
    """Read a head's folder, add the head, and return its name; see `io.heads.read`."""
    name, head = prepare(model, source, load_as, id2label)
    head.install()
    return name


def prepare(
    model: "PreTrainedModel",
    source: Path,
    load_as: str | None = None,
    id2label: Mapping[int, str] | None = None,
) -> tuple[str, heads.ReadHead]:
    """Read a head's folder; return the head's name, and what installs it."""
    document: dict[str, Any] = files.read_json(source / files.HEAD_CONFIG)
    saved_name = str(document.get("name") or source.name)
    head = heads.read(model, source, saved_name, load_as or saved_name, id2label)
    if head is None:
        raise FormatError(
            f"the head in {source} is one of {document.get('model_class')}, which cannot be put on "
            f"{type(model).__name__}"
        )
    return load_as or saved_name, head
