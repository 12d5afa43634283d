"""Hooks on the base model as a whole: where a forward pass begins."""

from typing import Any

import torch
from torch import nn
from transformers.utils.generic import ModelOutput

from adapters_runtime.context import Activations
from adapters_runtime.inject.point import Point


class Enter:
    """Pre-hook on the base model.

    Drops what an interrupted pass left in the cells, and for `Parallel` repeats the inputs once, so
    that no layer needs to know of it. Every layer then runs on all copies.
    """

    def __init__(self, activations: Activations, points: list[Point]) -> None:
        self.activations = activations
        self.keeping = [point for point in points if type(point).clear is not Point.clear]

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        tracing = torch.compiler.is_compiling()
        for point in self.keeping:
            # A graph guards all that its trace has touched; places at rest are not read.
            if not tracing or point.active() is not None:
                point.clear()
        copies = self.activations.copies()
        return None if copies == 1 else repeated(args, kwargs, copies)


def repeated(
    args: tuple[Any, ...], kwargs: dict[str, Any], copies: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with each row of the batch repeated."""
    found = [value.shape[0] for value in (*args, *kwargs.values()) if _has_rows(value)]
    rows = max(found) if found else 1
    return (
        tuple(_repeat(value, rows, copies) for value in args),
        {key: _repeat(value, rows, copies) for key, value in kwargs.items()},
    )


def _has_rows(value: Any) -> bool:
    # A vector is not a batch: it counts positions, or names the tokens that end a text.
    return isinstance(value, torch.Tensor) and value.dim() > 1


def _repeat(value: Any, rows: int, copies: int) -> Any:
    if isinstance(value, ModelOutput):
        return type(value)(**{k: _repeat(v, rows, copies) for k, v in value.items()})
    if isinstance(value, tuple):
        return tuple(_repeat(part, rows, copies) for part in value)
    if not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    shared = value.shape[0] == 1 if _has_rows(value) else value.shape[0] != rows
    if shared and rows != 1:
        return value
    return value.repeat(copies, *[1] * (value.dim() - 1))
