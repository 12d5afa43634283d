"""A model's folder with its adapters beside the model: `save_pretrained`, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_runtime import merging
from adapters_runtime.inject.bank import ATTRIBUTE, bank_of
from adapters_runtime.io import files, folder, fusions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTERS = "adapters"
"""The folder within the model's that has a folder for each adapter and fusion."""


def without_adapters(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a state dict that are the model's own."""
    return {key: value for key, value in state.items() if ATTRIBUTE not in key.split(".")}


def save_adapters(model: "PreTrainedModel", target: Path) -> None:
    """Write what stands beside the model's own files, if it has adapters."""
    bank = bank_of(model)
    if bank.interface is not None:
        files.write_interface(target, model.config.model_type, bank.interface)
    if merging.merged(bank) is not None:
        return  # the weights hold it, and are the base of no adapter
    for name in bank.configs:
        place = files.folder_within(target / ADAPTERS, name)
        place.parent.mkdir(exist_ok=True)
        folder.save(model, place, name, with_head=False, meta=None)
    for name in bank.fusions:
        fusions.save(model, files.folder_within(target / ADAPTERS, name), name, None)


def load_adapters(model: "PreTrainedModel", source: Path) -> None:
    """Load every adapter and fusion that `save_adapters` has written into a model's folder."""
    places = sorted((source / ADAPTERS).glob("*/")) if source.is_dir() else []
    for place in places:
        if (place / files.CONFIG).is_file():
            folder.prepare(model, place, with_head=False).install()
    for place in places:
        if (place / fusions.CONFIG).is_file():
            fusions.load(model, place, None)


def read_interface(source: Path) -> Any:
    """Return the fields of the interface in a folder, None when it has none."""
    path = source / files.INTERFACE
    return files.read_json(path).get("interface") if path.is_file() else None
