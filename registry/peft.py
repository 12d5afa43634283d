"""Reading a LoRA checkpoint of PEFT, as far as the registry can check it against a base.

Names in the file are `base_model.model.<path of the module>.<parameter>`. Where a configuration
holds regular expressions (`target_modules`, `rank_pattern`) they are not evaluated: an expression
of a stranger can keep a server busy for ever. The tensors show what it matched.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapters_runtime.architectures import ARCHITECTURES, Architecture, list_layers
from adapters_runtime.shapes import BaseDescription
from registry.adapterhub import CONFIG, Contents
from registry.errors import InvalidPackage
from registry.packages import Check, Package
from registry.schemas import Signature
from registry.structure import Weights, read_weights

WEIGHTS = "adapter_model.safetensors"
_ROOT = "base_model.model."
_BOOKKEEPING = frozenset(
    {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision"}
)
"""Fields that say where a checkpoint comes from, and nothing of what it computes."""

_PARTS = {
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_embedding_A": "embedding A",
    "lora_embedding_B": "embedding B",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
    "lora_B.bias": "bias of B",
    "base_layer.bias": "bias",
    "bias": "bias",
}
_SUFFIX = re.compile(rf"\.({'|'.join(map(re.escape, sorted(_PARTS, key=len, reverse=True)))})$")

Shape = tuple[int, ...]


def read(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> Contents:
    """Read the folder and compare its tensors with the base's.

    Raises InvalidPackage for other methods than LoRA: nothing here could tell whether they fit.
    """
    kind = document["peft_type"]
    if kind != "LORA":
        reason = "of PEFT's methods only LORA can be checked and gets a version"
        remedy = "the revision stays, and can be pulled by its id"
        raise InvalidPackage([f"{CONFIG}: peft_type is {kind!r}; {reason}; {remedy}"])
    weights = None
    if WEIGHTS in package:
        weights = read_weights(package, WEIGHTS, check)
    else:
        check.problem(WEIGHTS, "is missing; save with safe_serialization=True")
    lora = _Lora(document, weights, base) if weights else None
    if lora is not None and base is not None:
        for problem in lora.problems():
            check.problem(WEIGHTS, problem)
    return Contents(
        layout="peft",
        method="peft:lora",
        configuration={key: value for key, value in document.items() if key not in _BOOKKEEPING},
        model_type=base.model_type if base else None,
        signature=lora.signature() if lora else Signature(method="peft:lora"),
        head=None,
        weights=(WEIGHTS,) if WEIGHTS in package else (),
        local_names=(),
        copies={},
    )


@dataclass(frozen=True)
class _Lora:
    document: Mapping[str, Any]
    weights: Weights
    base: BaseDescription | None

    @cached_property
    def architecture(self) -> Architecture | None:
        return ARCHITECTURES.get(self.base.model_type) if self.base else None

    @cached_property
    def saved(self) -> frozenset[str]:
        """The modules that are stored whole."""
        names = self.document.get("modules_to_save")
        return frozenset(map(str, names)) if isinstance(names, list) else frozenset()

    @cached_property
    def modules(self) -> dict[str, dict[str, Shape]]:
        """Module, by its path in the base -> part -> shape; other tensors under the path ``."""
        modules: dict[str, dict[str, Shape]] = defaultdict(dict)
        for name, info in self.weights.tensors.items():
            path = self._relative(name)
            match = _SUFFIX.search(path) if path is not None else None
            if path is None or match is None or self._is_saved(path):
                modules[""][name] = info.shape
            else:
                modules[path[: match.start()]][_PARTS[match[1]]] = info.shape
        return modules

    @cached_property
    def given(self) -> dict[tuple[str, str], str]:
        """(module, part) -> the tensor's name in the file."""
        found = {}
        for name in self.weights.tensors:
            path = self._relative(name)
            if path is not None and (match := _SUFFIX.search(path)) is not None:
                found[path[: match.start()], _PARTS[match[1]]] = name
        return found

    def _relative(self, name: str) -> str | None:
        """Return the path in the base model, without PEFT's prefix and the base's own."""
        if not name.startswith(_ROOT):
            return None
        path = name.removeprefix(_ROOT)
        return path.removeprefix(f"{self.architecture.base_prefix}.") if self.architecture else path

    def _is_saved(self, path: str) -> bool:
        return any(f".{module}." in f".{path}" for module in self.saved)

    def signature(self) -> Signature:
        modules = [path for path in self.modules if path]
        points = {path.rpartition(".")[2] for path in modules}
        layers = None
        if self.base is not None and self.architecture is not None:
            paths = {
                layer.path: layer.index for layer in list_layers(self.architecture, self._names)
            }
            layers = sorted(
                {index for path, index in paths.items() if self._touches(path + ".", modules)}
            )
        return Signature.model_validate(
            {"method": "peft:lora", "layers": layers, "points": sorted(points)}
        )

    @property
    def _names(self) -> Mapping[str, Shape]:
        return self.base.tensors if self.base else {}

    @staticmethod
    def _touches(prefix: str, modules: list[str]) -> bool:
        return any(module.startswith(prefix) for module in modules)

    # --- checks ----------------------------------------------------------------------------------

    def problems(self) -> Iterator[str]:
        for name, shape in self.modules[""].items():
            yield from self._other_problems(name, shape)
        modules = {path: parts for path, parts in self.modules.items() if path}
        if not modules:
            yield f"none of its tensors is part of a LoRA; names read {_ROOT}<module>.lora_A.weight"
        for path, parts in modules.items():
            for part, text in self._module_problems(path, parts):
                given = self.given.get((path, part))
                yield f"tensor {repr(given) if given else f'{path}, {part}'}: {text}"
        yield from self._missing_modules(set(modules))

    def _other_problems(self, name: str, shape: Shape) -> Iterator[str]:
        path = self._relative(name)
        if path is None:
            yield f"tensor {name!r}: its name does not begin with {_ROOT!r}"
        elif not self._is_saved(path):
            yield f"tensor {name!r}: is not part of a LoRA, nor of modules_to_save"
        elif (own := self._names.get(path)) is not None and own != shape:
            yield f"tensor {name!r}: has shape {list(shape)}, the base's has {list(own)}"

    def _module_problems(self, path: str, parts: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
        weight = self._names.get(f"{path}.weight")
        if weight is None or len(weight) != 2:
            yield next(iter(parts)), "the base has no linear map or embedding of that name"
            return
        embedding = "embedding A" in parts or "embedding B" in parts
        for part, expected in self._expected(weight, embedding=embedding).items():
            found = parts.get(part)
            if found is None and part in self._required(embedding=embedding):
                yield part, "is missing"
            elif found is not None and not self._fits(found, expected):
                yield part, f"has shape {list(found)}, the base calls for {_pattern(expected)}"
        a, b = (parts.get(f"embedding {side}" if embedding else side) for side in ("A", "B"))
        if a and b and len(a) == len(b) == 2 and a[0] != b[1]:
            yield "A", f"has rank {a[0]}, B has {b[1]}"
        if a and a[0] not in self._ranks:
            yield "A", f"has rank {a[0]}, the configuration says {sorted(self._ranks)}"
        for part in parts.keys() - self._expected(weight, embedding=embedding).keys():
            yield part, "does not belong to this kind of module"

    def _expected(self, weight: Shape, *, embedding: bool) -> dict[str, tuple[int | None, ...]]:
        """Return the shapes that follow from a weight; None where the rank stands."""
        if embedding:
            rows, width = weight
            return {
                "embedding A": (None, rows),
                "embedding B": (width, None),
                "magnitude": (width,),
            }
        out, into = reversed(weight) if self._transposed else weight
        shapes: dict[str, tuple[int | None, ...]] = {
            "A": (None, into),
            "B": (out, None),
            "magnitude": (out,),
        }
        if self.document.get("lora_bias"):
            shapes["bias of B"] = (out,)
        if self.document.get("bias") in ("all", "lora_only"):
            shapes["bias"] = (out,)
        return shapes

    def _required(self, *, embedding: bool) -> set[str]:
        sides = {"embedding A", "embedding B"} if embedding else {"A", "B"}
        return sides | ({"magnitude"} if self.document.get("use_dora") else set())

    @property
    def _transposed(self) -> bool:
        if self.architecture is not None:
            return self.architecture.conv1d
        return bool(self.document.get("fan_in_fan_out"))

    @cached_property
    def _ranks(self) -> set[int]:
        pattern = self.document.get("rank_pattern")
        ranks = {
            self.document.get("r", 8),
            *(pattern.values() if isinstance(pattern, dict) else ()),
        }
        return {rank for rank in ranks if type(rank) is int}

    @staticmethod
    def _fits(found: Shape, expected: tuple[int | None, ...]) -> bool:
        return len(found) == len(expected) and all(
            wanted in (None, size) for size, wanted in zip(found, expected, strict=True)
        )

    def _missing_modules(self, present: set[str]) -> Iterator[str]:
        """Yield the modules that the configuration names and the file lacks: it was cut short."""
        targets = self.document.get("target_modules")
        narrowed = ("layers_to_transform", "layers_pattern", "exclude_modules")
        if not isinstance(targets, list) or any(self.document.get(key) for key in narrowed):
            return
        poolers = tuple(self.architecture.pooler_parameters) if self.architecture else ()
        for name, shape in self._names.items():
            path = name.removesuffix(".weight")
            wanted = any(f".{path}".endswith(f".{target}") for target in targets)
            is_map = path != name and len(shape) == 2
            if wanted and is_map and path not in present and not name.startswith(poolers):
                yield f"tensor {path}: is missing; target_modules calls for it"


def _pattern(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("rank" if size is None else str(size) for size in shape) + "]"
