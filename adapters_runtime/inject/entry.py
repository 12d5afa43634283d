"""Hooks on the base model as a whole: where a forward pass begins."""

from typing import Any

import torch
from torch import nn

from adapters_runtime.context import Activations
from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from adapters_runtime.inject.point import Point


class Enter:
    """Pre-hook on the base model.

    Drops what an interrupted pass left in the cells, and for `Parallel` repeats the inputs once, so
    that no layer needs to know of it. Every layer then runs on all copies.
    """

    def __init__(self, activations: Activations, points: list[Point]) -> None:
        self.activations = activations
        self.bottlenecks = [point for point in points if isinstance(point, BottleneckPoint)]

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not torch.compiler.is_compiling():
            for point in self.bottlenecks:
                point.clear()
        activation = self.activations.current()
        copies = 1 if activation is None else activation.setup.parallel_channels
        if copies == 1:
            return None
        return (
            tuple(_repeat(value, copies) for value in args),
            {key: _repeat(value, copies) for key, value in kwargs.items()},
        )


def _repeat(value: Any, copies: int) -> Any:
    if not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    return value.repeat(copies, *[1] * (value.dim() - 1))
