"""Reading and writing the files of an adapter's folder: JSON, and tensors without pickle."""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from adapters_runtime.errors import FormatError

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter.safetensors", "pytorch_adapter.bin")
FUSION_CONFIG = "adapter_fusion_config.json"
HEAD_CONFIG = "head_config.json"
HEAD_WEIGHTS = ("model_head.safetensors", "pytorch_model_head.bin")
SETUP = "adapter_setup.json"
INTERFACE = "adapter_interface.json"
"""How a model without a specification was described; see `adapters_runtime.interface`."""
HUB = "hub_adapter.json"
"""Ours: base identity and contract."""
HUB_BASE = "hub_base.json"
"""Ours: what registers the base with a hub. Not part of the adapter; push does not upload it."""
ORIGIN = "hub_origin.json"
"""Ours: which published version a pulled folder is."""
LOCK = "hub_lock.json"

_LONGEST = 180
"""Of a folder's name; file systems end at 255, and saving puts something before it for a while."""

HUB_FILES = (HUB, HUB_BASE, ORIGIN)
HEAD_FILES = (HEAD_CONFIG, *HEAD_WEIGHTS)
ADAPTER_FILES = (CONFIG, *WEIGHTS, *HEAD_FILES, INTERFACE, *HUB_FILES)
"""What a saved adapter consists of: saving it again replaces all of these."""

FORMAT_VERSION = "adapters.1.3.0"
"""The release of AdapterHub's library whose files ours equal; it refuses files without one."""


def folder_within(parent: Path, name: str) -> Path:
    """Return a folder of its own for what has a name: slashes in it do not nest folders.

    A name of any length has one: what it is called stands in its documents.
    """
    quoted = quote(name, safe="@+,")
    if len(quoted) > _LONGEST:
        quoted = f"{quoted[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return parent / (quoted.replace(".", "%2E") if quoted in (".", "..") else quoted)


def nested_folder(parent: Path, name: str) -> Path:
    """Return the folder in which AdapterHub's layout has what is called so: slashes nest folders.

    Names come from files of others. Raises FormatError for one that leads out of the parent.
    """
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise FormatError(
            f"{name!r} names no folder within {parent}; save it alone, into a folder of your own "
            "(save_adapter), and load it under another name (load_as)"
        )
    return parent / name


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises FormatError when there is none."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FormatError(
            f"{path.parent} is not an adapter's folder: it has no {path.name}"
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path} holds no JSON object")
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")


def write_interface(folder: Path, model_type: str, interface: Mapping[str, Any]) -> None:
    document = {"model_type": model_type, "interface": interface, "version": FORMAT_VERSION}
    write_json(folder / INTERFACE, document)


def find_weights(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first of the files that the folder has: safetensors go before pickles."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, on the CPU; raises FormatError when it is damaged."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if not isinstance(tensors, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in tensors.items()
    ):
        raise FormatError(f"{path} holds something else than a dictionary of tensors")
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors; the same tensors give the same bytes."""
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in sorted(tensors.items())}
    # Not save_file: it makes a file that only its owner may read.
    path.write_bytes(save(plain, metadata={"format": "pt"}))
