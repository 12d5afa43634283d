"""A model's folder with its adapters beside the model: `save_pretrained`, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_runtime import merging
from adapters_runtime.errors import FormatError
from adapters_runtime.inject.bank import ATTRIBUTE, bank_of
from adapters_runtime.io import files, folder, fusions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTERS = "adapters"
"""The folder within the model's that has a folder for each adapter and fusion."""
INDEX = "index.json"
"""In it: what the last save wrote. Others may lie beside that, of earlier saves."""


def without_adapters(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a state dict that are the model's own."""
    return {key: value for key, value in state.items() if ATTRIBUTE not in key.split(".")}


def save_adapters(model: "PreTrainedModel", target: Path) -> None:
    """Write what stands beside the model's own files, if it has adapters."""
    bank = bank_of(model)
    if bank.interface is not None:
        files.write_interface(target, model.config.model_type, bank.interface)
    # Weights into which one is merged hold it, and are the base of no adapter.
    beside = merging.merged(bank) is None
    written = {
        "adapters": list(bank.configs) if beside else [],
        "fusions": list(bank.fusions) if beside else [],
    }
    parent = target / ADAPTERS
    for name in written["adapters"]:
        folder.save(model, files.folder_within(parent, name), name, with_head=False, meta=None)
    for name in written["fusions"]:
        fusions.save(model, files.folder_within(parent, name), name, None)
    if parent.is_dir():
        files.write_json(parent / INDEX, written)


def load_adapters(model: "PreTrainedModel", source: Path) -> None:
    """Load every adapter and fusion that the last `save_adapters` wrote into a model's folder."""
    parent = source / ADAPTERS
    if not parent.is_dir():
        return
    for place in _places(parent, "adapters", files.CONFIG):
        folder.prepare(model, place, with_head=False).install()
    for place in _places(parent, "fusions", files.FUSION_CONFIG):
        fusions.load(model, place, None)


def _places(parent: Path, kind: str, config: str) -> list[Path]:
    if (parent / INDEX).is_file():
        names = files.read_json(parent / INDEX).get(kind)
        if not isinstance(names, list):
            raise FormatError(f"{parent / INDEX} has no list `{kind}`")
        return [files.folder_within(parent, str(name)) for name in names]
    return [path.parent for path in sorted(parent.glob(f"*/{config}"))]  # of our first releases


def read_interface(source: Path) -> Any:
    """Return the fields of the interface in a folder, None when it has none."""
    path = source / files.INTERFACE
    return files.read_json(path).get("interface") if path.is_file() else None
