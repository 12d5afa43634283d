"""Positions of a text behind prefixes that count as tokens.

PEFT hands prefixes to a model as if it had read them before: the text's first token then stands at
the position after them. AdapterHub's prefixes have no position, and need nothing of this.
"""

from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.architectures import Architecture
from adapters_runtime.composition import AdapterCompositionBlock, Stack
from adapters_runtime.configs import AdapterConfig, PeftPrefixConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError, InvalidComposition
from adapters_runtime.inject.point import Hook, Outside, Point

_LEARNED = ("position_embeddings", "wpe")


class Shift(nn.Module):
    """How many positions the prefixes of an adapter take."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length


class PositionPoint(Point):
    """All modules of a model that turn positions into something."""

    def __init__(
        self, base: nn.Module, architecture: Architecture, activations: Activations
    ) -> None:
        super().__init__("", None, activations)
        self.model_type = architecture.model_type
        # A relative bias follows from the numbers of keys, which prefixes add to.
        self.relative = architecture.prefix_bias == "recompute"
        self.hooks = [
            *(Hook(Outside(module), ShiftLearned(self), pre=True) for module in _learned(base)),
            *(Hook(Outside(module), ShiftRotary(self), pre=True) for module in _rotary(base)),
        ]

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, PeftPrefixConfig) or self.relative:
            return None
        if not self.hooks:
            raise ConfigError(
                f"PEFT's prefixes take positions, and those of {self.model_type} cannot be shifted"
            )
        return Shift(config.prefix_length)

    def shift(self) -> int:
        setup = self.active()
        return 0 if setup is None else self._of(setup)

    def _of(self, block: AdapterCompositionBlock | str) -> int:
        if isinstance(block, str):
            shift = self.adapters[block] if block in self.adapters else None  # noqa: SIM401  (no `get` here)
            return shift.length if isinstance(shift, Shift) else 0
        shifts = [self._of(child) for child in block]
        if isinstance(block, Stack):
            return sum(shifts)
        if len(set(shifts)) > 1:
            raise InvalidComposition(
                f"{block}: PEFT's prefixes take positions, so all parts need as many of them; "
                f"here they take {shifts}"
            )
        return shifts[0]


class ShiftLearned:
    """Pre-hook on an embedding of positions."""

    def __init__(self, point: PositionPoint) -> None:
        self.point = point

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        shift = self.point.shift()
        if not shift:
            return None
        positions, *rest = args or tuple(kwargs.values())
        return (_shifted(positions, shift, getattr(module, "padding_idx", None)), *rest), {}


class ShiftRotary:
    """Pre-hook on a rotary embedding, which is called with (hidden states, positions)."""

    def __init__(self, point: PositionPoint) -> None:
        self.point = point

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        shift = self.point.shift()
        if not shift:
            return None
        if "position_ids" in kwargs:
            return args, {**kwargs, "position_ids": kwargs["position_ids"] + shift}
        hidden, positions, *rest = args
        return (hidden, positions + shift, *rest), kwargs


def _shifted(positions: Tensor, shift: int, padding: int | None) -> Tensor:
    if padding is None:
        return positions + shift
    # RoBERTa gives padding a position of its own.
    return torch.where(positions == padding, positions, positions + shift)


def _learned(base: nn.Module) -> Iterator[nn.Module]:
    for path, module in base.named_modules():
        if type(module) is nn.Embedding and path.rpartition(".")[2] in _LEARNED:
            yield module


def _rotary(base: nn.Module) -> Sequence[nn.Module]:
    return [
        module
        for module in base.modules()
        if type(module).__name__.endswith("RotaryEmbedding")
        and "position_ids" in signature(module.forward).parameters
    ]
