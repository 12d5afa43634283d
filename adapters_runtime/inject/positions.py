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
from adapters_runtime.composition import (
    AdapterCompositionBlock,
    Stack,
)
from adapters_runtime.configs import AdapterConfig, PeftPrefixConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError, InvalidComposition
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.evaluation import Place, evaluate
from adapters_runtime.inject.paths import find
from adapters_runtime.inject.point import Hook, Outside, Point
from adapters_runtime.meaning import BLOCKS

_LEARNED = ("position_embeddings", "wpe")
_OF_DECODER = "decoder.embed_positions"
"""BART's encoder, which no prefix of PEFT's enters, has another one."""


class Shift(nn.Module):
    """How many positions the prefixes of an adapter take."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length


class PositionPoint(Point, Place[Tensor]):
    """All modules of a model that turn positions into something.

    As a place its state is how far each row is shifted, (rows, 1).
    """

    method = "PEFT's prefix tuning"
    blocks = BLOCKS["prefix_tuning"]

    def __init__(
        self, base: nn.Module, architecture: Architecture, activations: Activations
    ) -> None:
        super().__init__("", None, activations)
        self.model_type = architecture.model_type
        # Of a pair of models prefixes stand in the decoder, which comes last.
        base = find(base, architecture.stacks[-1].part)
        # A relative bias follows from the numbers of keys, which prefixes add to.
        self.relative = architecture.prefix_bias == "recompute"
        self.rows = Cell()
        """How many rows the batch has; positions are often given once for all of them."""
        shifting = [
            *(Hook(Outside(module), ShiftLearned(self), pre=True) for module in _learned(base)),
            *(Hook(Outside(module), ShiftRotary(self), pre=True) for module in _rotary(base)),
            *_in_decoder(self, base),
        ]
        self.hooks = [Hook(Outside(base), CountRows(self), pre=True), *shifting] if shifting else []

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, PeftPrefixConfig) or self.relative:
            return None
        if not self.hooks:
            raise ConfigError(
                f"PEFT's prefixes take positions, and those of {self.model_type} cannot be shifted"
            )
        return Shift(config.prefix_length)

    def shift(self) -> int | Tensor:
        """Return by how much positions move, or (rows, 1) where that differs by the row."""
        setup = self.active()
        if setup is None:
            return 0
        same = self._of_all(setup)
        if same is not None:
            return same
        zeros = torch.zeros(self.rows.value, 1, dtype=torch.long, device=self.place)
        return evaluate(self, setup, zeros)

    def _of_all(self, block: AdapterCompositionBlock | str) -> int | None:
        """Return the shift of all rows, or None when the rows do not agree."""
        if isinstance(block, str):
            return self._length(block)
        shifts = [self._of_all(child) for child in block]
        if isinstance(block, Stack):
            return None if None in shifts else sum(shift or 0 for shift in shifts)
        return shifts[0] if len(set(shifts)) == 1 else None

    def _length(self, name: str) -> int:
        shift = self.adapters[name] if name in self.adapters else None  # noqa: SIM401  (no `get` here)
        return shift.length if isinstance(shift, Shift) else 0

    def clear(self) -> None:
        self.rows.clear()

    # --- Place

    def holds(self, name: str) -> bool:
        return name in self.adapters

    def leaf(self, name: str, state: Tensor) -> Tensor:
        return state + self._length(name)

    def size(self, state: Tensor, dim: int) -> int:
        return state.shape[dim]

    def cut(self, state: Tensor, dim: int, start: int, stop: int) -> Tensor:
        return state[start:stop]

    def join(self, states: Sequence[Tensor], dim: int) -> Tensor:
        return torch.cat(list(states))

    def mean(self, states: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        if any(not torch.equal(states[0], other) for other in states):
            raise InvalidComposition(
                "Average needs prefixes that take equally many positions, and here they take "
                f"{[int(state.max()) for state in states]}"
            )
        return states[0]


class CountRows:
    """Pre-hook on the base model."""

    def __init__(self, point: PositionPoint) -> None:
        self.point = point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [kwargs.get("decoder_input_ids"), *args, kwargs.get("input_ids")]
        given += [kwargs.get("decoder_inputs_embeds"), kwargs.get("inputs_embeds")]
        texts = (value for value in given if isinstance(value, Tensor))
        self.point.rows.put(next((text.shape[0] for text in texts), 1))


class ShiftLearned:
    """Pre-hook on an embedding of positions."""

    def __init__(self, point: PositionPoint) -> None:
        self.point = point

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        shift = self.point.shift()
        if isinstance(shift, int) and not shift:
            return None
        positions, *rest = args or tuple(kwargs.values())
        return (_shifted(positions, shift, getattr(module, "padding_idx", None)), *rest), {}


class ShiftRotary:
    """Pre-hook on a rotary embedding, or on a decoder's: both are given `position_ids`."""

    def __init__(self, point: PositionPoint) -> None:
        self.point = point

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        shift = self.point.shift()
        if isinstance(shift, int) and not shift:
            return None
        if "position_ids" in kwargs:
            return args, {**kwargs, "position_ids": kwargs["position_ids"] + shift}
        hidden, positions, *rest = args
        return (hidden, positions + shift, *rest), kwargs


class DropFirst:
    """Hook on a decoder's embedding of positions, which puts a dimension of rows before any."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return output[0] if output.dim() > 3 else None


def _shifted(positions: Tensor, shift: int | Tensor, padding: int | None) -> Tensor:
    if padding is None:
        return positions + shift
    # RoBERTa gives padding a position of its own.
    return torch.where(positions == padding, positions, positions + shift)


def _learned(base: nn.Module) -> Iterator[nn.Module]:
    for path, module in base.named_modules():
        if type(module) is nn.Embedding and path.rpartition(".")[2] in _LEARNED:
            yield module


def _in_decoder(point: PositionPoint, base: nn.Module) -> Iterator[Hook]:
    for path, module in base.named_modules():
        if path.endswith(_OF_DECODER) and "position_ids" in signature(module.forward).parameters:
            yield Hook(Outside(module), ShiftRotary(point), pre=True)
            yield Hook(Outside(module), DropFirst())


def _rotary(base: nn.Module) -> Sequence[nn.Module]:
    return [
        module
        for module in base.modules()
        if type(module).__name__.endswith("RotaryEmbedding")
        and "position_ids" in signature(module.forward).parameters
    ]
