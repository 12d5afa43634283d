"""Files and outputs of the reference library (adapters 1.3.0), all of them in tests/data/golden.

Each folder holds `bases/<base>` and `cases/<base>__<case>/adapters/<name>`.
"""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from adapters_runtime.architectures import LayerStack
from adapters_runtime.shapes import BaseDescription, Shape

ROOT = Path(__file__).parents[1] / "data" / "golden"


def folders(kind: str) -> list[Path]:
    """Return every case's folders of one kind, `adapters` or `fusions`."""
    return sorted(ROOT.glob(f"cases/*/{kind}/*"))


def label(folder: Path) -> str:
    return f"{folder.parents[1].name}/{folder.name}"


def read_shapes(folder: Path, stem: str) -> dict[str, Shape]:
    """Return {key: shape} of a weights file in either format."""
    file = folder / f"{stem}.safetensors"
    if file.exists():
        with safe_open(file, "pt") as tensors:
            return {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118  (it is no mapping)
    loaded = torch.load(folder / f"pytorch_{stem}.bin", weights_only=True, map_location="cpu")
    return {key: tuple(tensor.shape) for key, tensor in loaded.items()}


def base_of(folder: Path) -> BaseDescription:
    """Return the base of a case, its tensors under the names of today's transformers."""
    name = folder.parents[1].name.partition("__")[0]
    return _describe(folder.parents[3] / "bases" / name)


@functools.cache
def _describe(folder: Path) -> BaseDescription:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    bare = BaseDescription(config["model_type"], config, {})
    prefix = f"{bare.architecture.base_prefix}."
    tensors = {
        _rename(key.removeprefix(prefix), bare.architecture.stacks): shape
        for key, shape in read_shapes(folder, "model").items()
    }
    return BaseDescription(config["model_type"], config, tensors)


def _rename(key: str, stacks: tuple[LayerStack, ...]) -> str:
    for stack, layer, path, parameter in _in_renamed_layer(key, stacks):
        today = {saved: path for path, saved in stack.saved_names}
        return f"{stack.path}.{layer}.{today.get(path, path)}.{parameter}"
    return key


def _in_renamed_layer(
    key: str, stacks: tuple[LayerStack, ...]
) -> Iterator[tuple[LayerStack, str, str, str]]:
    for stack in stacks:
        saved = re.escape(stack.saved_path or stack.path)
        if match := re.fullmatch(rf"{saved}\.(\d+)\.(.+)\.(\w+)", key):
            yield stack, match[1], match[2], match[3]
