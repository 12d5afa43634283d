"""Adapters of one linear map: LoRA, (IA)³ and their kin, with exact merge and reset.

A hook on the untouched module changes its output, so any module that maps (..., in) to (..., out)
can be adapted. Merging folds an adapter into the weights and takes the hook away.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from adapters_runtime.composition import (
    Average,
    Child,
    Stack,
    names_in,
)
from adapters_runtime.configs import AdapterConfig, LoRAConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import MergeStateError
from adapters_runtime.inject.evaluation import Place, evaluate, missing_weight
from adapters_runtime.inject.host import read, writable
from adapters_runtime.inject.overwriting import may_overwrite, reads_once
from adapters_runtime.inject.paths import in_features, out_features
from adapters_runtime.inject.point import Hook, Outside, Point
from adapters_runtime.inject.stacks import index, may_stack, stacked
from adapters_runtime.meaning import BLOCKS
from adapters_runtime.methods.base import LinearMethod, tensors_behind
from adapters_runtime.methods.linear import build_linear

T = TypeVar("T")


class LinearState(NamedTuple):
    """x (..., in), what the map saw, and y (..., out), what it gave."""

    x: Tensor
    y: Tensor
    own: bool = False
    """Whether y may be written over: nothing else has it, and no gradient needs it."""


class Location(NamedTuple):
    """Which field of a configuration asks for this map, and which matrices it computes."""

    field: str
    """`selfattn_lora`, `intermediate_lora` or `output_lora`."""
    matrices: tuple[str, ...] = ()
    """Of `q`, `k`, `v`, in the order of the output's parts; empty outside the attention."""
    last: bool = False
    """Whether its gate is reported after those of the other maps with this field."""


class LinearPoint(Point, Place[LinearState]):
    """`widths` are the output features of each part of a fused map, or the one width."""

    method = "LoRA"
    blocks = BLOCKS["linear"]
    container = "loras"

    merges_first = False
    """Whether it takes the place of what the others at its module add to."""

    def __init__(
        self,
        path: str,
        layer: int | None,
        activations: Activations,
        module: nn.Module,
        location: Location,
        widths: Sequence[int] = (),
        groups: int = 1,
    ) -> None:
        super().__init__(path, layer, activations)
        self.host = Outside(module)
        self.location = location
        self.transposed = not hasattr(module, "out_features")  # Conv1D keeps (in, out)
        self.widths = list(widths) or [out_features(module)]
        self.groups = groups
        """How many times the output has all its parts, one after the other: once for a head."""
        self.parts: dict[str, list[int]] = {}
        """Adapter -> which parts of the output it adapts."""
        self.merged: str | None = None
        self._original: dict[str, Tensor] = {}
        self.hooks = [Hook(self.host, AdaptOutput(self))]

    def build(self, config: AdapterConfig) -> nn.Module | None:
        if not isinstance(config, LoRAConfig) or self.layer in config.leave_out:
            return None
        parts = self._wanted(config)
        if not parts:
            return None
        widths = [self.widths[part] for part in parts]
        return build_linear(config, in_features(self.host.module), widths, _Rows(self, parts))

    def add(self, name: str, config: AdapterConfig) -> bool:
        if not super().add(name, config):
            return False
        assert isinstance(config, LoRAConfig)
        self.parts[name] = self._wanted(config)
        return True

    def attach(self) -> None:
        if self.merged is None:
            super().attach()

    def remove(self, name: str) -> None:
        if self.merged == name:
            self.reset()
        self.parts.pop(name, None)
        super().remove(name)

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        if old in self.parts:
            self.parts[new] = self.parts.pop(old)

    def _wanted(self, config: LoRAConfig) -> list[int]:
        if not getattr(config, self.location.field):
            return []
        if not self.location.matrices:
            return [0]
        return [i for i, part in enumerate(self.location.matrices) if part in config.attn_matrices]

    # --- the host's tensors, as (out, in) whatever it is

    def _read(self, key: str) -> Tensor | None:
        """Return what the base holds, also while an adapter is merged into it."""
        return self._original[key] if key in self._original else read(self.host.module, key)

    def _weight(self) -> Tensor:
        weight = self._read("weight")
        assert weight is not None
        return weight.t() if self.transposed else weight

    def _bias(self) -> Tensor | None:
        return self._read("bias")

    # --- Place

    def holds(self, name: str) -> bool:
        return name in self.adapters

    def leaf(self, name: str, state: LinearState) -> LinearState:
        method = self._method(name)
        if self.activations.recording() is not None:
            self._record_gates(name, method, state.x)
        parts = self.parts[name]
        if state.own and method.adapt_in_place(state.x, self._pieces(parts, state.y, -1)):
            return state
        rows = _Rows(self, parts)
        if len(self.widths) == 1:
            return LinearState(state.x, method.adapt(state.x, state.y, rows))
        y = method.adapt(state.x, self.select(name, state.y, -1), rows)
        return LinearState(state.x, self.replace(name, state.y, y, -1))

    def _record_gates(self, name: str, method: LinearMethod, x: Tensor) -> None:
        gates = method.gates(x)
        if gates is not None:
            self.record_gates(name, self.location.field, gates, last=self.location.last)

    def _method(self, name: str) -> LinearMethod:
        method = self.adapters[name]
        assert isinstance(method, LinearMethod)
        return method

    def size(self, state: LinearState, dim: int) -> int:
        return state.y.shape[dim]

    def cut(self, state: LinearState, dim: int, start: int, stop: int) -> LinearState:
        length = stop - start
        return LinearState(state.x.narrow(dim, start, length), state.y.narrow(dim, start, length))

    def join(self, states: Sequence[LinearState], dim: int) -> LinearState:
        x = torch.cat([state.x for state in states], dim)
        return LinearState(x, torch.cat([state.y for state in states], dim))

    def mean(self, states: Sequence[LinearState], weights: Sequence[float]) -> LinearState:
        y = weights[0] * states[0].y
        for state, weight in zip(states[1:], weights[1:], strict=True):
            y = y + weight * state.y
        return LinearState(states[0].x, y)

    def weight_of_base(self, block: Average) -> float:
        """Keep the host's output whole where updates are averaged: y + Σ wᵢ Δᵢ for any weights."""
        held = [self.adapters[name] for name in block.flatten() if self.holds(name)]
        adds = all(isinstance(adapter, LinearMethod) and adapter.adds for adapter in held)
        return missing_weight(block) if adds else 0.0

    def together(
        self, children: Sequence[Child], choice: tuple[int, ...], state: LinearState
    ) -> LinearState | None:
        """Let each row have factors of its own: y + x Dᵀ Uᵀ, or l ⊙ y, whatever makes them up."""
        if (stack := self._side_by_side(children, state)) is None:
            return None
        first, *second = (part[index(choice, state.x.device)] for part in stack)
        out = state.y if state.own and state.y.dtype == first.dtype else None
        if not second:
            return LinearState(state.x, torch.mul(state.y, first, out=out))
        low = torch.bmm(state.x, first)
        return LinearState(state.x, torch.baddbmm(state.y, low, *second, out=out))

    def averaged(self, block: Average, state: LinearState) -> LinearState | None:
        if (stack := self._side_by_side((block,), state)) is None:
            return None
        first, *second = (part[0] for part in stack)
        if not second:
            return LinearState(state.x, state.y * first)
        low = torch.mm(state.x.flatten(0, 1), first)
        added = torch.addmm(state.y.flatten(0, 1), low, *second)
        return LinearState(state.x, added.view_as(state.y))

    def _side_by_side(
        self, children: Sequence[Child], state: LinearState
    ) -> tuple[Tensor, ...] | None:
        """Return the stack of these set-ups, where one does for all they do."""
        held = dict.fromkeys(name for child in children for name in names_in(child))
        adapters = [self.adapters[name] for name in held if self.holds(name)]
        if state.x.dim() != 3 or not all(isinstance(adapter, LinearMethod) for adapter in adapters):
            return None
        tensors = [tensor for adapter in adapters for tensor in tensors_behind(adapter)]
        if not may_stack(tensors):
            return None
        return self.stacks.get(tuple(children), tensors, lambda: self._stack(children))

    def _stack(self, children: Sequence[Child]) -> tuple[Tensor, ...] | None:
        """Return Dᵀ (children, in, k) and Uᵀ (children, k, out), or l alone, (children, 1, out)."""
        pairs = _all(self._factors(child) for child in children)
        if pairs is not None:
            downs, ups = zip(*pairs, strict=True)
            return stacked([down.t() for down in downs]), stacked([up.t() for up in ups])
        scales = _all(self._rescaling(child) for child in children)
        return None if scales is None else (torch.stack(scales)[:, None],)

    def _rescaling(self, child: Child) -> Tensor | None:
        """Return l (out) if a set-up gives l ⊙ y here and no more, else None."""
        if isinstance(child, str):
            return self._own_rescaling(child)
        if not isinstance(child, Stack | Average):
            return None
        found = _all(self._rescaling(part) for part in child)
        if found is None:
            return None
        if isinstance(child, Stack):
            return torch.stack(found).prod(dim=0)
        return sum(weight * scale for weight, scale in zip(child.weights, found, strict=True))  # type: ignore[return-value]

    def _own_rescaling(self, name: str) -> Tensor | None:
        nothing = self.near.new_ones(out_features(self.host.module))
        if not self.holds(name):
            return nothing
        factor = self._method(name).rescaling()
        if factor is None or len(self.widths) == 1:
            return factor
        return self.replace(name, nothing, factor, 0)

    def _factors(self, child: Child) -> tuple[Tensor, Tensor] | None:
        """Return D (k, in) and U (out, k) if a set-up adds x Dᵀ Uᵀ here and no more, else None."""
        if isinstance(child, str):
            return self._own_factors(child)
        if not isinstance(child, Stack | Average):
            return None
        pairs = _all(self._factors(part) for part in child)
        weights = child.weights if isinstance(child, Average) else [1.0] * len(child)
        if pairs is None:
            return None
        ups = [weight * up for weight, (_, up) in zip(weights, pairs, strict=True)]
        return torch.cat([down for down, _ in pairs]), torch.cat(ups, dim=1)

    def _own_factors(self, name: str) -> tuple[Tensor, Tensor] | None:
        outputs = out_features(self.host.module)
        if not self.holds(name):
            nothing = self.near.new_zeros
            return nothing(0, in_features(self.host.module)), nothing(outputs, 0)
        factors = self._method(name).low_rank()
        if factors is None or len(self.widths) == 1:
            return factors
        down, up = factors
        return down, self.replace(name, up.new_zeros(outputs, up.shape[1]), up, 0)

    # --- parts of a fused map

    def split(self, tensor: Tensor, dim: int) -> list[Tensor]:
        """Cut a dimension of output features into parts: [q | k | v], or interleaved by head."""
        if self.groups == 1:
            return list(tensor.split(self.widths, dim))
        dim %= tensor.dim()
        by_head = tensor.unflatten(dim, (self.groups, -1))
        sizes = [width // self.groups for width in self.widths]
        return [part.flatten(dim, dim + 1) for part in by_head.split(sizes, dim + 1)]

    def unsplit(self, parts: Sequence[Tensor], dim: int) -> Tensor:
        """Undo `split`."""
        if self.groups == 1:
            return torch.cat(list(parts), dim)
        dim %= parts[0].dim()
        by_head = [part.unflatten(dim, (self.groups, -1)) for part in parts]
        return torch.cat(by_head, dim + 1).flatten(dim, dim + 1)

    def rows(self, parts: Sequence[int], name: str) -> Tensor | None:
        """Return those of the host's weight or bias that make some parts of the output."""
        tensor = self._weight() if name == "weight" else self._bias()
        return None if tensor is None else self._select(parts, tensor, 0)

    def select(self, name: str, tensor: Tensor, dim: int) -> Tensor:
        """Return the parts that an adapter adapts, side by side."""
        return self._select(self.parts[name], tensor, dim)

    def _select(self, wanted: Sequence[int], tensor: Tensor, dim: int) -> Tensor:
        pieces = self._pieces(wanted, tensor, dim)
        return tensor if len(self.widths) == 1 else torch.cat(pieces, dim)

    def _pieces(self, wanted: Sequence[int], tensor: Tensor, dim: int) -> list[Tensor]:
        """Return some parts of the output features; views, unless heads interleave them."""
        if len(self.widths) == 1:
            return [tensor]
        parts = self.split(tensor, dim)
        return [parts[i] for i in wanted]

    def replace(self, name: str, tensor: Tensor, new: Tensor, dim: int) -> Tensor:
        """Return `tensor` with the parts that an adapter adapts taken from `new`."""
        parts = self.split(tensor, dim)
        ours = self.parts[name]
        for i, part in zip(ours, new.split([self.widths[i] for i in ours], dim), strict=True):
            parts[i] = part
        return self.unsplit(parts, dim)

    # --- merging

    def merge(self, name: str) -> None:
        """Fold an adapter into the weights, keeping the originals; nothing of it runs then.

        `reset` undoes what has been done when this raises.
        """
        self.merged = name
        self.detach()
        with torch.no_grad():
            self._fold_in(name)

    def _fold_in(self, name: str) -> None:
        weight, bias = self._folded(name)
        self._keep("weight", weight.t() if self.transposed else weight)
        if bias is not None:
            self._keep("bias", bias)

    def _folded(self, name: str) -> tuple[Tensor, Tensor | None]:
        weight, bias = self._weight(), self._bias()
        new_weight, new_bias = self._method(name).fold(
            self.select(name, weight, 0), None if bias is None else self.select(name, bias, 0)
        )
        if bias is None and new_bias is not None:
            raise MergeStateError(
                f"{name!r} adds a bias at {self.path}, where the base has none to fold it into"
            )
        if bias is not None and new_bias is not None:
            bias = self.replace(name, bias, new_bias, 0)
        return self.replace(name, weight, new_weight, 0), bias

    def _keep(self, key: str, new: Tensor) -> None:
        parameter = writable(self.host.module, key)
        # A clone: undoing the arithmetic would leave rounding noise, in bfloat16 a visible one.
        self._original[key] = parameter.detach().clone()
        parameter.copy_(new)

    def reset(self) -> None:
        """Bring back the weights that `merge` replaced, bit for bit."""
        with torch.no_grad():
            for key, original in self._original.items():
                self.host.module.get_parameter(key).copy_(original)
        self._original.clear()
        self.merged = None
        if self.adapters:
            self.attach()


class _Rows(NamedTuple):
    """The rows of a host that an adapter adapts, read when they are asked for."""

    point: LinearPoint
    parts: Sequence[int]

    def weight(self) -> Tensor:
        weight = self.point.rows(self.parts, "weight")
        assert weight is not None
        return weight

    def bias(self) -> Tensor | None:
        return self.point.rows(self.parts, "bias")


def _all(found: Iterable[T | None]) -> list[T] | None:
    """Return what was found, or None if anything was not."""
    listed = list(found)
    there = [one for one in listed if one is not None]
    return there if len(there) == len(listed) else None


class AdaptOutput:
    """Hook on the linear map."""

    of = "map"

    def __init__(self, point: LinearPoint) -> None:
        self.point = point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        setup = self.point.active()
        if setup is None:
            return None
        # Factors in float32 would widen what autocast has narrowed.
        own = may_overwrite(output, module, self) and self.point.groups == 1 and reads_once(setup)
        state = LinearState(args[0], output, own)
        return evaluate(self.point, setup, state).y.to(output.dtype)
