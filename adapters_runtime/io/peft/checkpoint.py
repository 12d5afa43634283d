"""A PEFT checkpoint beside the model that it is loaded into."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from adapters_runtime.errors import FormatError
from adapters_runtime.inject.bank import ATTRIBUTE, bank_of, base_of
from adapters_runtime.io import files

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
ROOTS = ("base_model.model.", "base_model.")
"""What stands before the path of a module; the second in checkpoints of soft prompts."""


class Checkpoint:
    """Its configuration and tensors.

    Names of modules are full in the file, those of the model it was trained with, and relative to
    the base in the runtime.
    """

    def __init__(self, model: "PreTrainedModel", source: Path, document: Mapping[str, Any]) -> None:
        self.model = model
        self.base = base_of(model)
        self.source = source
        self.document = document
        self.prefix = f"{bank_of(model).architecture.base_prefix}."

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors by full names, without the root."""
        path = files.find_weights(self.source, WEIGHTS)
        if path is None:
            raise FormatError(f"{self.source} has no weights: neither {' nor '.join(WEIGHTS)}")
        return {_without_root(key): tensor for key, tensor in files.read_tensors(path).items()}

    @cached_property
    def has_prefix(self) -> bool:
        """Whether it was trained with a model that has a head, and so a base of another name."""
        return any(
            key.startswith(self.prefix) or self._outside(key.rpartition(".")[0])
            for key in self.tensors
        )

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """The modules that it could mean, by full names."""
        prefix = self.prefix if self.has_prefix else ""
        inside = {f"{prefix}{path}": module for path, module in _modules(self.base)}
        if not self.has_prefix or self.model is self.base:
            return inside
        own = set(inside.values()) | {self.base}
        outside = {path: module for path, module in _modules(self.model) if module not in own}
        return inside | outside

    def relative(self, name: str) -> str:
        return name.removeprefix(self.prefix)

    def is_outside(self, name: str) -> bool:
        """Return whether a module of the model does not belong to its base."""
        return self._outside(name)

    def _outside(self, name: str) -> bool:
        if self.model is self.base or not name:
            return False
        path = f"{name}."
        heads = (child for child, module in self.model.named_children() if module is not self.base)
        return any(path.startswith(f"{head}.") for head in heads)


def _modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in root.named_modules():
        if path and ATTRIBUTE not in path.split("."):
            yield path, module


def _without_root(key: str) -> str:
    for root in ROOTS:
        if key.startswith(root):
            return key.removeprefix(root)
    return key
