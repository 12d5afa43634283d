"""A PEFT checkpoint beside the model that it is loaded into."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adapters_runtime.configs import AdapterConfig
from adapters_runtime.errors import FormatError
from adapters_runtime.inject.bank import ATTRIBUTE, bank_of, base_of
from adapters_runtime.io import files

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
ROOTS = ("base_model.model.", "base_model.")
"""What stands before the path of a module; the second in checkpoints of soft prompts."""


Part = tuple[AdapterConfig, dict[str, Tensor]]
"""A configuration, and its tensors under our names but for the adapter's, which is `*`."""


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
        self.prefix = f"{_name_of_base(model, self.base)}."

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors by full names, without the root."""
        path = files.find_weights(self.source, WEIGHTS)
        if path is None:
            raise FormatError(f"{self.source} has no weights: neither {' nor '.join(WEIGHTS)}")
        tensors = {_without_root(key): tensor for key, tensor in files.read_tensors(path).items()}
        return _without_copies(tensors)

    @cached_property
    def has_prefix(self) -> bool:
        """Whether it was trained with a model that has a head, and so a base of another name."""
        named = [key for key in self.tensors if "." in key]  # a soft prompt belongs to no module
        return not named or any(
            key.startswith(self.prefix) or self._outside(key.rpartition(".")[0]) for key in named
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

    @cached_property
    def tied(self) -> dict[str, str]:
        """The output embedding and the token embedding, by full names, where they are one."""
        start, end = self.token_embeddings
        names = [name for each in (end, start) for name in self._names(each)]
        if start is None or end is None or len(names) != 2 or end.weight is not start.weight:
            return {}
        return {names[0]: names[1]}

    @cached_property
    def token_embeddings(self) -> tuple[nn.Module | None, nn.Module | None]:
        """The input and the output embedding of the model, if it has them."""
        try:
            return self.model.get_input_embeddings(), self.model.get_output_embeddings()
        except NotImplementedError:  # CLIP has several towers
            return None, None

    def _names(self, wanted: nn.Module | None) -> list[str]:
        return [name for name, module in self.modules.items() if module is wanted]

    def holders(self, weight: Any) -> list[str]:
        """Return the modules that have a weight, which several can have in common."""
        modules = self.modules.items()
        return [name for name, each in modules if getattr(each, "weight", None) is weight]

    def drop_base_weights(self, left: dict[str, Tensor]) -> None:
        """Take tensors out of `left` that PEFT saved with the adapter, and that are the model's.

        Those of another model stay, and so are tensors that nobody asked for.
        """
        for key in list(left):
            name, _, parameter = key.rpartition(".")
            own = getattr(self.modules.get(name.removesuffix(".base_layer")), parameter, None)
            if isinstance(own, Tensor) and _are_same(left[key], own):
                del left[key]

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


def _are_same(saved: Tensor, own: Tensor) -> bool:
    """Return whether two tensors are equal in the shorter of their number formats."""
    return torch.equal(saved.to(own), own) or torch.equal(saved, own.to(saved))


def _modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in root.named_modules():
        if path and ATTRIBUTE not in path.split("."):
            yield path, module


def _name_of_base(model: "PreTrainedModel", base: nn.Module) -> str:
    children = model.named_children()
    own = next((name for name, child in children if child is base), None)
    return own or bank_of(model).architecture.base_prefix


def _without_copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what `bias="all"` saves of modules_to_save: once more, and as they were before.

    Raises FormatError when the two that should be one tensor differ.
    """
    kept = {key: tensor for key, tensor in tensors.items() if ".original_module." not in key}
    for key in [key for key in kept if ".modules_to_save." in key]:
        module, _, parameter = key.partition(".modules_to_save.")
        # The adapter's name may have stayed in between.
        named = f"{module}.{parameter.partition('.')[2]}"
        plain, copy = named if named in kept else f"{module}.{parameter}", kept.pop(key)
        if not torch.equal(kept.setdefault(plain, copy), copy):
            raise FormatError(f"{key} and {plain} are one tensor, and hold different values")
    return kept


def _without_root(key: str) -> str:
    for root in ROOTS:
        if key.startswith(root):
            return key.removeprefix(root)
    return key
