"""Adapters whose modules are named one by one, as checkpoints of the PEFT library have them.

Paths are relative to the base model; those of a head, which the base does not have, to the model.
"""

import re
from collections.abc import Collection, Mapping
from typing import ClassVar

from adapters_runtime.configs.base import (
    AdapterConfig,
    check_positive,
    check_probability,
    configuration,
)
from adapters_runtime.configs.prefix_tuning import PrefixTuningConfig
from adapters_runtime.errors import ConfigError

_LAYER = re.compile(r"(?:^|\.)(\d+)\.")


Heads = Mapping[str, tuple[int, ...]] | None
"""Path of a module of a head, which the base has not -> the sizes of its output and its input."""


class _ByPath(AdapterConfig):
    """What the configurations below share."""

    heads: Heads = None

    def paths(self) -> Collection[str]:
        raise NotImplementedError

    def check(self) -> None:
        if not self.paths():
            raise ConfigError(f"{type(self).__name__} names no module")
        if odd := sorted(set(self.heads or ()) - set(self.paths())):
            raise ConfigError(f"heads has sizes of {', '.join(odd)}, which it does not adapt")

    def layers_within(self, count: int) -> tuple[int, ...]:
        """Return the first number in each path; two stacks (T5) count their layers alike."""
        found = {int(match[1]) for path in self.paths() if (match := _LAYER.search(path))}
        return tuple(sorted(layer for layer in found if layer < count))


@configuration
class PeftLoRAConfig(_ByPath):
    """LoRA, or DoRA, beside any linear maps and embeddings."""

    architecture: ClassVar[str | None] = "peft_lora"

    ranks: Mapping[str, int]
    """Path of a module -> rank."""
    scalings: Mapping[str, float]
    """Path of a module -> factor of its update."""
    dropout: float = 0.0
    use_dora: bool = False
    lora_bias: bool = False
    """Whether the second matrix has a bias."""
    heads: Heads = None

    def paths(self) -> Collection[str]:
        return self.ranks

    def check(self) -> None:
        super().check()
        check_probability(self.dropout, of="dropout")
        for path, rank in self.ranks.items():
            check_positive(rank, of=f"the rank of {path}")
        if self.ranks.keys() != self.scalings.keys():
            odd = sorted(self.ranks.keys() ^ self.scalings.keys())
            raise ConfigError(f"ranks and scalings name different modules: {', '.join(odd)}")

    def places(self) -> frozenset[str]:
        return frozenset(path.rpartition(".")[2] for path in self.ranks)


@configuration
class PeftIA3Config(_ByPath):
    """(IA)³ on any linear maps: one factor for each feature of the output, or of the input."""

    architecture: ClassVar[str | None] = "peft_ia3"

    outputs: tuple[str, ...] = ()
    """Modules whose output is rescaled."""
    inputs: tuple[str, ...] = ()
    """Modules whose input is rescaled: PEFT's feed-forward modules."""
    heads: Heads = None

    def paths(self) -> Collection[str]:
        return (*self.outputs, *self.inputs)

    def check(self) -> None:
        super().check()
        if both := sorted(set(self.outputs) & set(self.inputs)):
            raise ConfigError(f"outputs and inputs both name {', '.join(both)}")

    def places(self) -> frozenset[str]:
        return frozenset(path.rpartition(".")[2] for path in self.paths())


@configuration
class OwnBiasesConfig(_ByPath):
    """Other biases than the base's in some modules."""

    architecture: ClassVar[str | None] = "own_biases"

    modules: tuple[str, ...]
    heads: Heads = None

    def paths(self) -> Collection[str]:
        return self.modules

    def places(self) -> frozenset[str]:
        return frozenset({"own_biases"})


@configuration
class OwnModulesConfig(_ByPath):
    """Whole modules in the place of the model's: a classifier, or the token embedding."""

    architecture: ClassVar[str | None] = "own_modules"

    modules: Mapping[str, Mapping[str, tuple[int, ...]]]
    """Path of a module -> its tensors -> their shapes."""

    def paths(self) -> Collection[str]:
        return self.modules

    def places(self) -> frozenset[str]:
        return frozenset({"own_modules"})


@configuration
class PeftPromptConfig(AdapterConfig):
    """A prompt that takes part in all that is done to a text's embeddings, positions included."""

    architecture: ClassVar[str | None] = "peft_prompt"

    prompt_length: int = 10

    def check(self) -> None:
        check_positive(self.prompt_length, of="prompt_length")

    def places(self) -> frozenset[str]:
        return frozenset({"prompt"})

    def layers_within(self, count: int) -> tuple[int, ...]:
        return ()


@configuration
class PeftPrefixConfig(PrefixTuningConfig):
    """Prefixes that count as tokens: those of the text have their positions after them."""

    architecture: ClassVar[str | None] = "peft_prefix"

    encoder_prefix: bool = False
    cross_prefix: bool = False
    flat: bool = True
