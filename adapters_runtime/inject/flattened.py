"""Places of a layer where the model has the tokens of all rows as one list.

OPT flattens (rows, tokens, width) to (rows * tokens, width) before its feed-forward block, and
mixtures of experts do so inside of it. Set-ups are made of rows and tokens, so what adapters see
has both.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.point import Hook, Outside, Point


def unflatten(point: Point, layer: nn.Module) -> None:
    """Let a point's hooks see the rows and tokens that enter the layer, where they are a list."""
    shape = Cell()
    hooks = []
    for hook in point.hooks:
        assert isinstance(hook, Hook)
        hook.call = ByRows(hook.call, shape)
        hooks.append(hook)
    point.hooks = (Hook(Outside(layer), NoteShape(shape), pre=True), *hooks)


class NoteShape:
    """Pre-hook on the layer."""

    def __init__(self, shape: Cell) -> None:
        self.shape = shape

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stream: Tensor = args[0] if args else kwargs["hidden_states"]
        self.shape.put(stream.shape[:-1])


class ByRows:
    """Hook in the place of another one, which sees what the module takes and gives by rows."""

    def __init__(self, hook: Callable[..., Any], shape: Cell) -> None:
        self.hook = hook
        self.shape = shape
        self.of = getattr(hook, "of", None)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], seen: Any) -> Any:
        """`seen` is the output, or the keywords where this is a pre-hook."""
        shape: torch.Size = self.shape.value
        changed = self.hook(module, _unflattened(args, shape), _unflattened(seen, shape))
        takes_place_of = args if isinstance(seen, dict) else seen
        return _flattened(changed, shape) if _is_list(takes_place_of, shape) else changed


def _is_list(value: Any, shape: torch.Size) -> bool:
    if isinstance(value, tuple):
        return any(_is_list(each, shape) for each in value)
    return isinstance(value, Tensor) and value.dim() == 2 and len(value) == math.prod(shape)


def _unflattened(value: Any, shape: torch.Size) -> Any:
    if isinstance(value, tuple):
        return tuple(_unflattened(each, shape) for each in value)
    return value.unflatten(0, shape) if _is_list(value, shape) else value


def _flattened(value: Any, shape: torch.Size) -> Any:
    if isinstance(value, tuple):
        return tuple(_flattened(each, shape) for each in value)
    by_rows = isinstance(value, Tensor) and value.shape[:-1] == shape
    return value.flatten(0, len(shape) - 1) if by_rows else value
