"""Gradient checkpointing: a layer is recomputed under the set-up under which it ran.

The recomputation happens in the backward pass, when a `with AdapterSetup` may have closed, in a
thread of autograd's own on some devices.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from adapters_runtime.context import Activations, swap_override
from adapters_runtime.inject.bank import AdapterBank
from adapters_runtime.inject.point import Point
from adapters_runtime.inject.prefix_point import PrefixPool
from adapters_runtime.inject.reft_point import ReftPoint

FUNCTION = "_gradient_checkpointing_func"
"""Attribute of transformers' layers."""


class KeepSetup:
    """Wraps the function that checkpoints a layer."""

    def __init__(
        self,
        function: Callable[..., Any],
        activations: Activations,
        points: Sequence[Point],
    ) -> None:
        self.function = function
        self.activations = activations
        self.points = points
        self.pools = [point for point in points if isinstance(point, PrefixPool)]
        # What the model said of the rows, around the layers, which run again without it.
        self.given = [point.given for point in points if isinstance(point, ReftPoint)]

    def __call__(self, layer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.function(_Under(self, layer), *args, **kwargs)


class _Under:
    """A layer together with the set-up under which it runs, each time."""

    def __init__(self, keeper: KeepSetup, layer: Callable[..., Any]) -> None:
        self.keeper = keeper
        self.layer = layer
        self.override = keeper.activations.in_force()
        self.given = [cell.value for cell in keeper.given]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        former = swap_override(self.override)
        for pool in self.keeper.pools:
            pool.clear()  # a layer that is to run again computes for itself alone
        for cell, value in zip(self.keeper.given, self.given, strict=True):
            cell.put(value)
        try:
            return self.layer(*args, **kwargs)
        except BaseException:
            # Recomputation is broken off once it has all it needs, between two of our hooks.
            for point in self.keeper.points:
                point.clear()
            raise
        finally:
            swap_override(former)


def keep_setups(model: nn.Module, bank: AdapterBank) -> None:
    """Wrap the functions that checkpoint the layers of a model, where that has not been done."""
    points = list(bank.of_type(Point))
    for module in model.modules():
        function = getattr(module, FUNCTION, None)
        if function is not None and not isinstance(function, KeepSetup):
            setattr(module, FUNCTION, KeepSetup(function, bank.activations, points))
