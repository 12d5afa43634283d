"""Bottlenecks in a residual sub-block, y = norm?(r + h) or r + norm(h).

What they make of h stands in its place, so that the model's own addition (and norm) finishes the
job; see `residual_hooks`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.architectures import ResidualSite
from adapters_runtime.composition import (
    AdapterCompositionBlock,
    Average,
    Child,
    Fuse,
    names_in,
)
from adapters_runtime.configs import AdapterConfig, AdapterFusionConfig, BnConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import FusionNotLoaded
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.evaluation import Place, evaluate, missing_weight
from adapters_runtime.inject.named import NamedModules
from adapters_runtime.inject.point import Outside, Point
from adapters_runtime.inject.recording import FUSION
from adapters_runtime.inject.row_products import bottlenecks
from adapters_runtime.inject.stacks import may_stack, stacked
from adapters_runtime.meaning import BLOCKS
from adapters_runtime.methods.base import tensors_behind
from adapters_runtime.methods.bottleneck import Bottleneck
from adapters_runtime.methods.folded_fusion import FoldedFusion
from adapters_runtime.methods.fusion import AdapterFusion

FOLDED_FROM = 2**20
"""Multiply-adds of one (width, width) product from which fusions are folded."""


class ResidualState(NamedTuple):
    """h and r, (batch, length, width). `complete`: h has r and the norm in it already."""

    h: Tensor
    r: Tensor
    complete: bool = False


class BottleneckPoint(Point, Place[ResidualState]):
    method = "a bottleneck"
    blocks = BLOCKS["bottleneck"]

    def __init__(
        self,
        path: str,
        layer: int,
        activations: Activations,
        site: ResidualSite,
        width: int,
        norm: nn.Module | None,
    ) -> None:
        super().__init__(path, layer, activations)
        self.site = site
        self.width = width
        self.fusions = NamedModules()
        self.residuals = [Cell() for _ in site.residual]
        self.completed = Cell()
        self.norm_module = None if norm is None else Outside(norm)

    def build(self, config: AdapterConfig) -> nn.Module | None:
        assert self.layer is not None
        if not isinstance(config, BnConfig) or not getattr(config, self.site.key):
            return None
        if self.layer in config.leave_out:
            return None
        return Bottleneck(self.width, config.reduction_at(self.layer), config)

    # --- what the hooks call

    def adapt(self, h: Tensor) -> Tensor:
        """Return what the sub-block's last module should yield in place of h.

        Does nothing unless every residual has been captured: the same module may end two
        sub-blocks of a layer (ViT's dropout).
        """
        if not all(cell.filled for cell in self.residuals):
            return h
        captured = [cell.take() for cell in self.residuals]
        setup = self.active()
        if setup is None:
            return h
        residual = captured[0]
        assert residual is not None
        for stream in captured[1:]:
            assert stream is not None
            residual = residual + stream
        return self._evaluate(setup, h, residual)

    def _evaluate(self, setup: Any, h: Tensor, r: Tensor) -> Tensor:
        if not self.site.swapped:
            return self._finish(evaluate(self, setup, ResidualState(h, r)), r)
        # The adapter's idea of stream and output is the wrong way round here; the model will add r.
        state = evaluate(self, setup, ResidualState(r, h))
        return self._finish(state if state.complete else state._replace(h=state.h + h - r), r)

    def _finish(self, state: ResidualState, r: Tensor) -> Tensor:
        if not state.complete:
            return state.h
        if self.norm_module is None:
            return state.h - r  # the model adds r again
        # The norm's hook puts it in the place of its output.
        self.completed.put(state.h - r if self.site.sandwich else state.h)
        return state.h

    def norm(self, x: Tensor) -> Tensor:
        # Not by calling the module: that would run our own hook on it.
        assert self.norm_module is not None
        normed: Tensor = self.norm_module.module.forward(x)
        return normed

    def clear(self) -> None:
        """Forget what an interrupted forward pass left behind."""
        for cell in (*self.residuals, self.completed):
            cell.clear()

    # --- Place

    def holds(self, name: str) -> bool:
        return name in self.adapters

    def leaf(self, name: str, state: ResidualState) -> ResidualState:
        adapter = self._bottleneck(name)
        x, residual = self._prepare(adapter, state)
        self._report_gate(name, x)
        return ResidualState(adapter(x, residual), state.r, self._completes(adapter))

    def _report_gate(self, name: str, x: Tensor) -> None:
        adapter = self._bottleneck(name)
        if adapter.gate is not None and self.activations.recording() is not None:
            self.record_gates(name, self.site.key, adapter.gate_values(x))

    def _bottleneck(self, name: str) -> Bottleneck:
        adapter = self.adapters[name]
        assert isinstance(adapter, Bottleneck)
        return adapter

    def _prepare(self, adapter: Bottleneck, state: ResidualState) -> tuple[Tensor, Tensor]:
        r = state.r if self._reads_stream(adapter) else torch.zeros_like(state.r)
        return adapter.prepare(state.h, r, None if self.norm_module is None else self.norm)

    def _reads_stream(self, adapter: Bottleneck) -> bool:
        return self.site.sums or adapter.config.is_parallel

    def _completes(self, adapter: Bottleneck) -> bool:
        """Return whether what an adapter gives has r in it already."""
        return adapter.completes and self._reads_stream(adapter)

    def size(self, state: ResidualState, dim: int) -> int:
        return state.h.shape[dim]

    def cut(self, state: ResidualState, dim: int, start: int, stop: int) -> ResidualState:
        length = stop - start
        h, r = state.h.narrow(dim, start, length), state.r.narrow(dim, start, length)
        return ResidualState(h, r, state.complete)

    def join(self, states: Sequence[ResidualState], dim: int) -> ResidualState:
        states = self._alike(states)
        h = torch.cat([state.h for state in states], dim)
        r = torch.cat([state.r for state in states], dim)
        return ResidualState(h, r, states[0].complete)

    def mean(self, states: Sequence[ResidualState], weights: Sequence[float]) -> ResidualState:
        states = self._alike(states)
        h = weights[0] * states[0].h
        for state, weight in zip(states[1:], weights[1:], strict=True):
            h = h + weight * state.h
        return states[0]._replace(h=h)

    def weight_of_base(self, block: Average) -> float:
        """Keep h whole where all that is averaged is added to it, as in AdapterHub's library."""
        held = [self._bottleneck(name) for name in block.flatten() if self.holds(name)]
        parallel = all(adapter.config.is_parallel for adapter in held)
        return missing_weight(block) if parallel else 0.0

    def together(
        self, children: Sequence[Child], choice: tuple[int, ...], state: ResidualState
    ) -> ResidualState | None:
        """Multiply each row by its own matrices, where all bottlenecks are of one form."""
        adapters = self._held(children)
        stack = self._kept(children, adapters, state, lambda: self._stack(children, adapters))
        if stack is None:
            return None
        x, residual = self._prepare(adapters[0], state)
        h = residual + bottlenecks(x, stack, choice, adapters[0].activation)
        return ResidualState(h, state.r, self._completes(adapters[0]))

    def averaged(self, block: Average, state: ResidualState) -> ResidualState | None:
        """Take alike bottlenecks for one that is as wide as all of them."""
        adapters = self._held(block)
        # The residual, which all have in common, is averaged too.
        if len(adapters) < len(block) or not math.isclose(sum(block.weights), 1.0, rel_tol=1e-6):
            return None
        wide = self._kept([block], adapters, state, lambda: self._wide(block, adapters))
        if wide is None:
            return None
        x, residual = self._prepare(adapters[0], state)
        low = adapters[0].activation(F.linear(x, *wide[:2]))
        h = residual + F.linear(low, *wide[2:])
        return ResidualState(h, state.r, self._completes(adapters[0]))

    def _held(self, children: Iterable[Child]) -> list[Bottleneck]:
        names = (child for child in children if isinstance(child, str))
        return [self._bottleneck(name) for name in names if self.holds(name)]

    def _kept(
        self,
        children: Sequence[Child],
        adapters: Sequence[Bottleneck],
        state: ResidualState,
        build: Callable[[], tuple[Tensor, ...] | None],
    ) -> tuple[Tensor, ...] | None:
        tensors = [tensor for adapter in adapters for tensor in tensors_behind(adapter)]
        if state.complete or state.h.dim() != 3 or not may_stack(tensors):
            return None
        return self.stacks.get(tuple(children), tensors, build)

    def _wide(self, block: Average, adapters: Sequence[Bottleneck]) -> tuple[Tensor, ...] | None:
        """Return the weights and biases, as torch keeps them, of one bottleneck for all."""
        if (stack := self._stack(block.children, adapters)) is None:
            return None
        down, down_bias, up, up_bias = stack
        weights = up.new_tensor(block.weights)[:, None, None]
        up, up_bias = (up * weights).flatten(0, 1), (up_bias * weights).sum(dim=(0, 1))
        return down.mT.flatten(0, 1), down_bias.flatten(), up.t().contiguous(), up_bias

    def _stack(
        self, children: Sequence[Child], adapters: Sequence[Bottleneck]
    ) -> tuple[Tensor, ...] | None:
        """Return the matrices of all children, each with one more dimension before its own."""
        forms = {adapter.form for adapter in adapters}
        if len(forms) != 1:
            return None
        found = [self._matrices(child, adapters[0]) for child in children]
        matrices = [four for four in found if four is not None]
        # Rows without a bottleneck keep h: with matrices of zeros if h is what these are added to.
        idle = len(adapters) < len(children)
        if len(matrices) < len(found) or (idle and not adapters[0].adds_to_h):
            return None
        return tuple(stacked(parts) for parts in zip(*matrices, strict=True))

    def _matrices(self, child: Child, like: Bottleneck) -> tuple[Tensor, ...] | None:
        if not any(self.holds(name) for name in names_in(child)):
            matrices = like.matrices()
            return None if matrices is None else tuple(matrix[:, :0] for matrix in matrices)
        return self._bottleneck(child).matrices() if isinstance(child, str) else None

    # --- fusions

    def add_fusion(self, name: str, config: AdapterFusionConfig) -> None:
        fusion = AdapterFusion(self.width, config)
        self.fusions[name] = fusion.to(self.place, self.near.dtype).train(self.training)

    def fuse(self, block: Fuse, state: ResidualState) -> ResidualState:
        members = [child for child in block if self.holds(_last(child))]
        if block.name not in self.fusions:
            if len(members) == len(block):
                raise FusionNotLoaded(block.name, tuple(self.fusions))
            return state  # a fusion stands only where all of its members have a place
        fusion = self.fusions[block.name]
        assert isinstance(fusion, AdapterFusion)
        last = self._bottleneck(_last(members[-1]))
        x, residual = self._prepare(last, state)
        query = state.h if fusion.config.query_before_ln and not last.config.is_parallel else x
        folded = self._folded(block.name, members, fusion, residual)
        if folded is not None:
            fused = folded(last.activation, x, query, residual)
        else:
            fused = fusion(query, self._outputs(members, last, x, state), residual)
        recording = self.activations.recording()
        if recording is not None:
            self.record(recording, FUSION, block.name, self.site.key, fused.attention)
        return ResidualState(fused.mixture, state.r, self._completes(last))

    def _folded(
        self, name: str, members: Sequence[Child], fusion: AdapterFusion, residual: Tensor
    ) -> FoldedFusion | None:
        """Return the fusion with its members in it, where they are plain and nothing trains.

        Where little is computed, little is saved, and results stay those of the plain order.
        """
        if residual.numel() * self.width < FOLDED_FROM:
            return None
        adapters = [self._bottleneck(child) for child in members if isinstance(child, str)]
        tensors = [t for module in (*adapters, fusion) for t in tensors_behind(module)]
        plain = len(adapters) == len(members) and residual.dim() == 3 and not fusion.training
        narrowed = torch.is_autocast_enabled(residual.device.type)
        if not plain or narrowed or not may_stack(tensors) or residual.dtype != tensors[0].dtype:
            return None

        def fold() -> FoldedFusion | None:
            stack = self._stack(members, adapters)
            return None if stack is None else FoldedFusion.of(fusion, *stack)

        found = self.stacks.get((name, *members), tensors, fold)
        assert found is None or isinstance(found, FoldedFusion)
        return found

    def _outputs(
        self, members: Sequence[Child], last: Bottleneck, x: Tensor, state: ResidualState
    ) -> list[Tensor]:
        """Return what each member gives before its residual."""
        return [
            self._project(child, x) if isinstance(child, str) else self._output(child, state)
            for child in members
        ]

    def _output(self, child: AdapterCompositionBlock | str, state: ResidualState) -> Tensor:
        """Return what an adapter, or the last one of a stack, gives before its residual."""
        if isinstance(child, str):
            return self._project(child, self._prepare(self._bottleneck(child), state)[0])
        for below in child.children[:-1]:
            state = evaluate(self, below, state)
        return self._output(child.children[-1], state)

    def _project(self, name: str, x: Tensor) -> Tensor:
        self._report_gate(name, x)
        return self._bottleneck(name).project(x)

    # --- states

    def _alike(self, states: Sequence[ResidualState]) -> Sequence[ResidualState]:
        """Complete all states when some are: only like can be put beside like."""
        if not any(state.complete for state in states):
            return states
        return [state if state.complete else self._complete(state) for state in states]

    def _complete(self, state: ResidualState) -> ResidualState:
        if self.site.sandwich:
            return ResidualState(state.r + self.norm(state.h), state.r, complete=True)
        h = state.h + state.r
        return ResidualState(
            h if self.norm_module is None else self.norm(h), state.r, complete=True
        )


def _last(child: AdapterCompositionBlock | str) -> str:
    return child if isinstance(child, str) else child.last()
