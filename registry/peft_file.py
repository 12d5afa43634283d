"""A checkpoint of PEFT beside its base: which tensor belongs to what.

Names in the file are a root, `base_model.model.`, and the path of a module in the model it was
trained with: the base's own with or without its prefix, or one of a head, which the base lacks.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapters_runtime.architectures import ARCHITECTURES, Architecture, list_layers
from adapters_runtime.errors import UnsupportedArchitecture
from adapters_runtime.shapes import BaseDescription, head_dimensions
from registry.structure import Weights

Shape = tuple[int, ...]

_WRAPPERS = re.compile(r"\.(?:original_module|modules_to_save(?:\.[^.]+(?=\.))?)(?=\.)")
"""What PEFT puts between a module that it saves and the module's parameters."""
_UNREAD = "and reads nothing that the base gives"
_PREFIXES = frozenset(architecture.base_prefix for architecture in ARCHITECTURES.values())
_OUTPUTS = ("decoder", "embed_out", "generator_lm_head", "lm_head", "proj_out", "vocab_projector")
"""What transformers calls the maps to the vocabulary."""


@dataclass(frozen=True)
class PeftFile:
    """Its configuration, the header of its weights, and the base's description."""

    document: Mapping[str, Any]
    weights: Weights
    base: BaseDescription | None
    root: str = "base_model.model."

    @cached_property
    def architecture(self) -> Architecture | None:
        try:
            return self.base.architecture if self.base else None
        except UnsupportedArchitecture:
            return None

    @property
    def kind(self) -> str:
        """What PEFT calls the method."""
        return str(self.document["peft_type"])

    @property
    def method(self) -> str:
        return f"peft:{self.kind.lower()}"

    @property
    def names(self) -> Mapping[str, Shape]:
        """The base's tensors."""
        return self.base.tensors if self.base else {}

    def relative(self, name: str) -> str | None:
        """Return the path in the base model, without the root and the base's own prefix."""
        if not name.startswith(self.root):
            return None
        path = _WRAPPERS.sub("", name.removeprefix(self.root))
        return path.removeprefix(f"{self.architecture.base_prefix}.") if self.architecture else path

    def words(self, field: str) -> list[str]:
        """Return a list of names of modules, without the base's prefix; none for an expression."""
        prefix = f"{self.architecture.base_prefix}." if self.architecture else ""
        names = self.document.get(field)
        return [str(n).removeprefix(prefix) for n in (names if isinstance(names, list) else ())]

    def is_saved(self, path: str) -> bool:
        """Whether a tensor belongs to a module that is stored whole."""
        return any(f"{module}." in path for module in self.words("modules_to_save"))

    def saved_problems(self, name: str, path: str, shape: Shape) -> Iterator[str]:
        """Yield what is wrong with a tensor of such a module, of the base or of a head."""
        own = self.names.get(path)
        if own is None:
            problem = self._head_problem(path, shape)
        elif own != shape and not self.is_vocabulary(path, shape):
            problem = f"has shape {list(shape)}, the base's has {list(own)}"
        else:
            problem = None
        if problem is not None:
            yield f"tensor {name!r}: {problem}"

    def _head_problem(self, path: str, shape: Shape) -> str | None:
        module, _, parameter = path.rpartition(".")
        model_type = self.base.model_type if self.base else ""
        weight = self._shapes.get(f"{module}.weight")
        if not self.is_head(module):
            return "the base has no tensor of that name"
        if head_dimensions(model_type, f"{module}.weight") and not head_dimensions(
            model_type, path
        ):
            return "the head has no tensor of that name"
        if parameter == "bias" and weight is not None and shape != weight[:1]:
            return f"has shape {list(shape)}, its weight {list(weight)}"
        return None if self.fits_head(path, shape) else f"has shape {list(shape)}, {_UNREAD}"

    @cached_property
    def _shapes(self) -> dict[str | None, Shape]:
        tensors = self.weights.tensors.items()
        return {self.relative(name): info.shape for name, info in tensors}

    def is_head(self, module: str) -> bool:
        """Whether a module can be a head's: it has no layers, and no base has its first name."""
        parts = module.split(".")
        return parts[0] not in self._first_names and not any(part.isdigit() for part in parts)

    @cached_property
    def _first_names(self) -> frozenset[str]:
        return _PREFIXES | {name.partition(".")[0] for name in self.names}

    def is_output(self, module: str) -> bool:
        """Whether a module maps to the vocabulary."""
        return self.is_head(module) and module.rpartition(".")[2] in _OUTPUTS

    def fits_head(self, path: str, shape: Shape) -> bool:
        """Whether a weight (out, in) fits the head that transformers has under its name, if any."""
        inputs = self.head_inputs(path)
        return not inputs or len(shape) != 2 or shape[1] in inputs

    def head_inputs(self, path: str) -> frozenset[int]:
        """Return the sizes of what a head's weight may read; none where it is not known."""
        if self.base is None or self.architecture is None:
            return frozenset()
        if self.is_output(path.removesuffix(".weight")):
            return frozenset({self.base.output_width, self.base.stream_width})
        dimensions = head_dimensions(self.base.model_type, path) or ""
        return frozenset({self.base.output_width} if dimensions[1:] == "H" else ())

    def is_vocabulary(self, path: str, shape: Shape) -> bool:
        """Whether it is the token embedding, of more tokens perhaps than the base's."""
        known = self.architecture.token_embedding if self.architecture else None
        own = self.names.get(path, ())
        return path == f"{known}.weight" and len(shape) == len(own) and shape[1:] == own[1:]

    def layers(self, modules: list[str]) -> list[int] | None:
        """Return which of the base's layers the modules stand in; None without a base."""
        if self.base is None or self.architecture is None:
            return None
        layers = list_layers(self.architecture, self.names)
        return sorted({layer.index for layer in layers if _touches(f"{layer.path}.", modules)})


def _touches(prefix: str, modules: list[str]) -> bool:
    return any(module.startswith(prefix) for module in modules)
