"""Prefix tuning and prompt tuning of PEFT against a base: one tensor, and perhaps a head."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from adapters_runtime.configs import PeftPrefixConfig, PeftPromptConfig, signature
from adapters_runtime.errors import AdapterError
from adapters_runtime.shapes import expected_tensors
from registry.peft_file import PeftFile, Shape
from registry.schemas import Signature

EMBEDDINGS = "prompt_embeddings"


@dataclass(frozen=True)
class SoftPrompt:
    """Its file, whose names have the shorter root `base_model.`."""

    file: PeftFile

    @cached_property
    def config(self) -> PeftPrefixConfig | PeftPromptConfig:
        """The same in our words; a length that is none becomes 1, and is a problem."""
        if self.file.kind == "PREFIX_TUNING":
            return PeftPrefixConfig(prefix_length=self._count("num_virtual_tokens"))
        return PeftPromptConfig(prompt_length=self._count("num_virtual_tokens"))

    def _count(self, field: str) -> int:
        value = self.file.document.get(field)
        return value if type(value) is int and value > 0 else 1

    def signature(self) -> Signature:
        base = self.file.base if self.file.architecture else None
        fields = signature(self.config, len(base.layers) if base else 0)
        fields["method"] = self.file.method
        return Signature.model_validate(fields | ({} if base else {"layers": None}))

    def problems(self) -> Iterator[str]:
        tensors = self.file.weights.tensors
        if EMBEDDINGS not in tensors:
            yield f"tensor {EMBEDDINGS!r}: is missing; peft_type calls for it"
        for name, info in tensors.items():
            path = self.file.relative(name)
            if name == EMBEDDINGS:
                yield from self._shape_problems(info.shape)
            elif path is None or not self.file.is_saved(path):
                yield f"tensor {name!r}: is neither {EMBEDDINGS} nor part of modules_to_save"
            else:
                yield from self.file.saved_problems(name, path, info.shape)

    def _shape_problems(self, shape: Shape) -> Iterator[str]:
        try:
            width = self._width(shape)
        except AdapterError as error:
            yield f"tensor {EMBEDDINGS!r}: {error}"
            return
        length = self._count("num_virtual_tokens")
        # An encoder-decoder's file has a second prompt, which PEFT never uses.
        times = {1} if self.file.kind == "PREFIX_TUNING" else {1, self._submodules}
        rows = {length * each for each in times}
        if len(shape) != 2 or shape[0] not in rows or shape[1] != width:
            calls = f"[{' or '.join(map(str, sorted(rows)))}, {width}]"
            text = f"num_virtual_tokens and the base call for {calls}"
            yield f"tensor {EMBEDDINGS!r}: has shape {list(shape)}, {text}"

    def _width(self, shape: Shape) -> int:
        """Return the width that the base calls for; that of the tensor for types not described."""
        if self.file.base is None or self.file.architecture is None:
            return shape[-1] if shape else 0
        expected = expected_tensors("x", self.config, self.file.base)
        return sum(map(math.prod, expected.values())) // self._count("num_virtual_tokens")

    @property
    def _submodules(self) -> int:
        return self._count("num_transformer_submodules")
