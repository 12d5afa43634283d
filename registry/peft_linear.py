"""LoRA and (IA)³ of PEFT against a base: parts beside linear maps, biases, and rows of tokens.

Where a configuration holds regular expressions (`target_modules`, `rank_pattern`) they are not
evaluated: an expression of a stranger can keep a server busy for ever. The tensors show what it
matched.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from registry.peft_file import PeftFile, Shape
from registry.schemas import Signature

_PARTS = {
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_embedding_A": "embedding A",
    "lora_embedding_B": "embedding B",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
    "lora_B.bias": "bias of B",
    "ia3_l": "factors",
}
_SUFFIX = re.compile(rf"\.({'|'.join(map(re.escape, sorted(_PARTS, key=len, reverse=True)))})$")
_BIAS = re.compile(r"(\.base_layer)?\.bias$")
_KEPT = re.compile(r"(\.base_layer)?\.weight$")
_ROWS = ".token_adapter.trainable_tokens_delta"

Expected = dict[str, tuple[int | None, ...]]
"""Part -> the shape that follows from a weight; None where the rank stands."""


@dataclass(frozen=True)
class LinearParts:
    """The tensors of one file by the modules that they adapt."""

    file: PeftFile

    @cached_property
    def modules(self) -> dict[str, dict[str, tuple[str, Shape]]]:
        """Module, by its path in the base -> part -> (name in the file, shape)."""
        modules: dict[str, dict[str, tuple[str, Shape]]] = defaultdict(dict)
        for name, info in self.file.weights.tensors.items():
            path = self.file.relative(name)
            if path is not None and not self.file.is_saved(path) and (m := _SUFFIX.search(path)):
                modules[path[: m.start()]][_PARTS[m[1]]] = (name, info.shape)
        return modules

    def signature(self) -> Signature:
        modules = list(self.modules)
        points = sorted({path.rpartition(".")[2] for path in modules})
        rows = any(name.endswith(_ROWS) for name in self.file.weights.tensors)
        fields = {"method": self.file.method, "points": points, "rows": rows}
        return Signature.model_validate({**fields, "layers": self.file.layers(modules)})

    # --- checks ----------------------------------------------------------------------------------

    def problems(self) -> Iterator[str]:
        parts = {name for found in self.modules.values() for name, _ in found.values()}
        for name, info in self.file.weights.tensors.items():
            if name not in parts:
                yield from self._other_problems(name, info.shape)
        if not self.modules:
            example = "ia3_l" if self.file.kind == "IA3" else "lora_A.weight"
            yield (
                f"none of its tensors is part of a {self.file.kind}; names read "
                f"{self.file.root}<module>.{example}"
            )
        for path, found in self.modules.items():
            shapes = {part: shape for part, (_, shape) in found.items()}
            for part, text in self._module_problems(path, shapes):
                given = found.get(part)
                yield f"tensor {repr(given[0]) if given else f'{path}, {part}'}: {text}"
        yield from self._missing_modules()

    def _other_problems(self, name: str, shape: Shape) -> Iterator[str]:
        """Yield what is wrong with a tensor that is no part of a LoRA."""
        path = self.file.relative(name)
        if path is None:
            yield f"tensor {name!r}: its name does not begin with {self.file.root!r}"
        elif self.file.is_saved(path):
            yield from self.file.saved_problems(name, path, shape)
        elif path.endswith(_ROWS):
            yield from self._row_problems(name, path.removesuffix(_ROWS), shape)
        elif (bias := _BIAS.search(path)) is not None:
            yield from self._bias_problems(name, path[: bias.start()], shape)
        elif not self._is_embedding(path, shape):
            yield (
                f"tensor {name!r}: is not part of a {self.file.kind}, of modules_to_save, nor of "
                "the token embedding"
            )

    def _row_problems(self, name: str, module: str, shape: Shape) -> Iterator[str]:
        weight = self.file.names.get(f"{module}.weight")
        wanted = self.file.document.get("trainable_token_indices")
        lists = wanted.values() if isinstance(wanted, dict) else [wanted]
        counts = {len(ids) for ids in lists if isinstance(ids, list)}
        if weight is None or len(weight) != 2:
            yield f"tensor {name!r}: the base has no embedding of that name"
        elif shape[1:] != weight[1:] or len(shape) != 2 or shape[0] not in counts:
            calls = f"[{' or '.join(map(str, sorted(counts))) or 'no rows'}, {weight[1]}]"
            yield f"tensor {name!r}: has shape {list(shape)}, the configuration calls for {calls}"

    def _bias_problems(self, name: str, module: str, shape: Shape) -> Iterator[str]:
        if self.file.document.get("bias", "none") == "none" and not self.file.is_output(module):
            yield f"tensor {name!r}: does not belong to a {self.file.kind} that trains no biases"
            return
        own = self.file.names.get(f"{module}.bias")
        if own is None and not self.file.is_head(module):
            yield f"tensor {name!r}: the base has no bias of that name"
        elif own not in (None, shape):
            yield f"tensor {name!r}: has shape {list(shape)}, the base's has {list(own or ())}"

    def _is_embedding(self, path: str, shape: Shape) -> bool:
        """Whether it is a token embedding, or an output, that PEFT saved beside the adapter."""
        if (kept := _KEPT.search(path)) is None:
            return False
        module = path[: kept.start()]
        if self.file.is_output(module):  # whole, because tokens were added or it is adapted
            return self.file.fits_head(f"{module}.weight", shape)
        return self.file.is_vocabulary(f"{module}.weight", shape)

    def _module_problems(self, path: str, parts: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
        weight = self._weight(path, parts)
        if weight is None or len(weight) != 2:
            yield next(iter(parts)), "the base has no linear map or embedding of that name"
            return
        expected = self._expected(path, weight, embedding=_is_embedding_lora(parts))
        for part, shape in expected.items():
            found = parts.get(part)
            if found is None and part in self._required(parts):
                yield part, "is missing"
            elif found is not None and not _fits(found, shape):
                yield part, f"has shape {list(found)}, the base calls for {_pattern(shape)}"
        yield from self._rank_problems(parts)
        for part in parts.keys() - expected.keys():
            yield part, "does not belong to this kind of module"

    def _rank_problems(self, parts: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
        a, b = (parts.get(f"embedding {side}", parts.get(side)) for side in ("A", "B"))
        if a and b and len(a) == len(b) == 2 and a[0] != b[1]:
            yield "A", f"has rank {a[0]}, B has {b[1]}"
        if a and a[0] not in self._ranks:
            yield "A", f"has rank {a[0]}, the configuration says {sorted(self._ranks)}"

    def _weight(self, path: str, parts: Mapping[str, Shape]) -> Shape | None:
        """Return the weight of a module as the base keeps it; a head's follows from its parts."""
        own = self.file.names.get(f"{path}.weight")
        if own is not None or not self.file.is_head(path):
            return own
        kept = [f"{path}.base_layer.weight", f"{self._prefixed(path)}.base_layer.weight"]
        for name in kept:
            if (info := self.file.weights.tensors.get(f"{self.file.root}{name}")) is not None:
                return info.shape
        out = next((parts[part][0] for part in ("B", "factors") if parts.get(part)), 0)
        read = parts["A"][-1] if parts.get("A") else parts.get("factors", (0,))[-1]
        inputs = self.file.head_inputs(f"{path}.weight")
        return out, read if read in inputs or not inputs else min(inputs)

    def _prefixed(self, path: str) -> str:
        architecture = self.file.architecture
        return f"{architecture.base_prefix}.{path}" if architecture else path

    def _expected(self, path: str, weight: Shape, *, embedding: bool) -> Expected:
        if embedding:
            rows, width = weight
            return {
                "embedding A": (None, rows),
                "embedding B": (width, None),
                "magnitude": (width,),
            }
        turned = not self.file.is_head(path) and self._turned(path)
        out, into = reversed(weight) if turned else weight
        if self.file.kind == "IA3":
            return {"factors": (1, into) if self._rescales_input(path) else (out, 1)}
        shapes: Expected = {"A": (None, into), "B": (out, None), "magnitude": (out,)}
        if self.file.document.get("lora_bias"):
            shapes["bias of B"] = (out,)
        return shapes

    def _rescales_input(self, path: str) -> bool:
        """Whether (IA)³ rescales what enters a module; an expression shows in the tensor."""
        if isinstance(self.file.document.get("feedforward_modules"), list):
            return path.endswith(tuple(self.file.words("feedforward_modules")))
        given = self.modules[path].get("factors")
        return given is not None and given[1][:1] == (1,)

    def _required(self, parts: Mapping[str, Shape]) -> set[str]:
        if self.file.kind == "IA3":
            return {"factors"}
        sides = {"embedding A", "embedding B"} if _is_embedding_lora(parts) else {"A", "B"}
        return sides | ({"magnitude"} if self.file.document.get("use_dora") else set())

    def _turned(self, path: str) -> bool:
        """Whether the base keeps the weight at a path as (in, out)."""
        if self.file.base is not None and self.file.architecture is not None:
            return self.file.base.keeps_turned(path)
        return bool(self.file.document.get("fan_in_fan_out"))

    @cached_property
    def _ranks(self) -> set[int]:
        pattern = self.file.document.get("rank_pattern")
        ranks = {
            self.file.document.get("r", 8),
            *(pattern.values() if isinstance(pattern, dict) else ()),
        }
        return {rank for rank in ranks if type(rank) is int}

    def _missing_modules(self) -> Iterator[str]:
        """Yield the modules that the configuration names and the file lacks: it was cut short."""
        targets = self.file.words("target_modules")
        narrowed = ("layers_to_transform", "layers_pattern", "exclude_modules")
        if any(self.file.document.get(key) for key in narrowed):
            return
        architecture = self.file.architecture
        poolers = tuple(architecture.pooler_parameters) if architecture else ()
        for name, shape in self.file.names.items():
            path = name.removesuffix(".weight")
            wanted = any(f".{path}".endswith(f".{target}") for target in targets)
            is_map = path != name and len(shape) == 2 and not self.file.is_saved(name)
            if wanted and is_map and path not in self.modules and not name.startswith(poolers):
                yield f"tensor {path}: is missing; target_modules calls for it"


def _is_embedding_lora(parts: Mapping[str, Shape]) -> bool:
    return "embedding A" in parts or "embedding B" in parts


def _fits(found: Shape, expected: tuple[int | None, ...]) -> bool:
    return len(found) == len(expected) and all(
        wanted in (None, size) for size, wanted in zip(found, expected, strict=True)
    )


def _pattern(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("rank" if size is None else str(size) for size in shape) + "]"
