"""ReFT at the output of whole layers.

Which positions are a text's first and last follows from the padding mask, which layers see only in
the form that attention needs. So a hook on the module around a stack of layers keeps the mask as it
was given, (batch, length), for the layers within.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adapters_runtime.architectures import Architecture, LayerStack
from adapters_runtime.configs import AdapterConfig, ReftConfig
from adapters_runtime.context import Activations
from adapters_runtime.inject.arguments import Names, cache_of
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.evaluation import Place, evaluate
from adapters_runtime.inject.paths import find, in_features
from adapters_runtime.inject.placed import PlacedLayer
from adapters_runtime.inject.point import Handle, Hook, Outside, Point
from adapters_runtime.meaning import BLOCKS
from adapters_runtime.methods.reft import ReFT, Texts


class Given(NamedTuple):
    """What a call said of its rows: the mask, (batch, length), and how much a cache holds."""

    mask: Tensor | None = None
    cached: int | Tensor | None = None

    def texts(self, hidden: Tensor) -> Texts:
        rows, length = hidden.shape[:2]
        if self.mask is None:
            past = 0 if self.cached is None else self.cached
            start = hidden.new_zeros(rows, dtype=torch.long)
            return Texts(start - past, start + length)
        total = self.mask.shape[1]
        visible = self.mask.to(torch.int8)
        past = total - length if self.cached is None else self.cached
        first = visible.argmax(dim=1)
        end = total - visible.flip(1).argmax(dim=1)
        return Texts(first - past, end - past)


class ReftState(NamedTuple):
    """The layer's output, (batch, length, width), and where each row's text is; see `Texts`."""

    hidden: Tensor
    first: Tensor
    end: Tensor


class ReftPoint(Point, Place[ReftState]):
    method = "ReFT"
    blocks = BLOCKS["reft"]
    container = "reft_layer.refts"

    def __init__(
        self, path: str, layer: int, activations: Activations, width: int, given: Cell
    ) -> None:
        super().__init__(path, layer, activations)
        self.width = width
        self.given = given

    def build(self, config: AdapterConfig) -> nn.Module | None:
        assert self.layer is not None
        if not isinstance(config, ReftConfig) or not config.output_reft:
            return None
        if self.layer not in config.layers_within(self.layer + 1):
            return None
        return ReFT(self.width, config)

    def parameters_of(self, name: str) -> Iterator[nn.Parameter]:
        if name in self.adapters:
            adapter = self.adapters[name]
            assert isinstance(adapter, ReFT)
            yield from adapter.used_parameters()

    def edit(self, hidden: Tensor) -> Tensor:
        setup = self.active()
        if setup is None:
            return hidden
        given = self.given.value or Given()
        return evaluate(self, setup, ReftState(hidden, *given.texts(hidden))).hidden

    # --- Place

    def holds(self, name: str) -> bool:
        return name in self.adapters

    def leaf(self, name: str, state: ReftState) -> ReftState:
        texts = Texts(state.first, state.end)
        return state._replace(hidden=self.adapters[name](state.hidden, texts))

    def size(self, state: ReftState, dim: int) -> int:
        return state.hidden.shape[dim]

    def cut(self, state: ReftState, dim: int, start: int, stop: int) -> ReftState:
        return ReftState(*(part[start:stop] for part in state))

    def join(self, states: Sequence[ReftState], dim: int) -> ReftState:
        return ReftState(*(torch.cat(parts) for parts in zip(*states, strict=True)))

    def mean(self, states: Sequence[ReftState], weights: Sequence[float]) -> ReftState:
        hidden = weights[0] * states[0].hidden
        for state, weight in zip(states[1:], weights[1:], strict=True):
            hidden = hidden + weight * state.hidden
        return states[0]._replace(hidden=hidden)


class EditOutput:
    """Hook on a layer."""

    def __init__(self, point: ReftPoint) -> None:
        self.point = point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (self.point.edit(output[0]), *output[1:])
        return self.point.edit(output)


class NoteGiven:
    """Pre-hook on the module around a stack of layers."""

    of = "note"

    def __init__(self, cell: Cell, module: nn.Module) -> None:
        self.cell = cell
        self.names = Names(module)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = self.names.of(args, kwargs)
        cache = cache_of(given)
        cached = None if cache is None else cache.get_seq_length()
        if isinstance(cached, Tensor):
            cached = cached.clone()  # a static cache counts in place
        self.cell.put(Given(_as_rows(given.get("attention_mask")), cached))


class WhileAny:
    """An attachment that several points need: there once, while any of them has adapters."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.module = hook.module
        self._users = 0
        self._handle: Handle | None = None

    def register(self) -> "WhileAny":
        if self._users == 0:
            self._handle = self.hook.register()
        self._users += 1
        return self

    def remove(self) -> None:
        self._users -= 1
        if self._users == 0 and self._handle is not None:
            self._handle.remove()


def _as_rows(mask: Any) -> Tensor | None:
    """Return a mask as (batch, length), None when there is none for the text as a whole."""
    if isinstance(mask, dict):
        mask = mask.get("full_attention")
    if not isinstance(mask, Tensor):
        return None
    if mask.dim() == 4:  # (batch, 1, queries, keys): a key that a query sees is no padding
        seen = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
        return seen[:, 0].any(dim=1)
    return mask if mask.dim() == 2 else None


def reft_points(
    base: nn.Module,
    architecture: Architecture,
    layers: Sequence[PlacedLayer],
    activations: Activations,
) -> Iterator[ReftPoint]:
    """Yield a point for each layer, with the hooks that it needs."""
    around: dict[str, tuple[Cell, WhileAny]] = {}
    for layer in layers:
        path = _path_around(layer.stack, architecture)
        if path not in around:
            cell, module = Cell(), find(base, path) if path else base
            hook = Hook(Outside(module), NoteGiven(cell, module), pre=True)
            around[path] = cell, WhileAny(hook)
        cell, attachment = around[path]
        width = in_features(layer.find(layer.stack.reader))
        point = ReftPoint(layer.saved_path, layer.index, activations, width, cell)
        point.hooks = [Hook(Outside(layer.module), EditOutput(point)), attachment]
        yield point


def _path_around(stack: LayerStack, architecture: Architecture) -> str:
    """Return the path of the largest module that holds this stack and no other: "" is the base."""
    others = [other.path for other in architecture.stacks if other.path != stack.path]
    steps = stack.path.split(".")
    for count in range(len(steps)):
        path = ".".join(steps[:count])
        if not any(f"{other}.".startswith(f"{path}." if path else "") for other in others):
            return path
    return ""
