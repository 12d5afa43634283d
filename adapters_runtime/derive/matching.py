"""The residual sub-blocks of a layer, found by tensors: r + h = s.

No name decides where an adapter stands. In a float64 pass of random weights a sum equals another
tensor to nine digits only where the model has added.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapters_runtime.derive.layers import TracedLayer
from adapters_runtime.derive.tracing import Event, same

DEEPEST = 5
"""More additions than a layer of any known model has."""


@dataclass(frozen=True)
class Block:
    """One sub-block: `out` yields h, which is added to the streams in `residual`."""

    out: Event
    residual: tuple[str, ...]
    norm: str | None = None
    sandwich: bool = False


def find_blocks(layer: TracedLayer) -> list[Block]:
    """Return the sub-blocks of which a layer's output is made; none when they do not explain it."""
    return _chain(layer, layer.stream, layer.enters.time, 0) or _side_by_side(layer)


def is_norm(module: nn.Module, x: Tensor) -> bool:
    """Return whether a module forgets the scale of what it reads, as norms do."""
    if any(module.children()) or any(parameter.dim() > 1 for parameter in module.parameters()):
        return False
    with torch.no_grad():
        once, scaled = module.forward(x), module.forward(8 * x)
    return torch.allclose(once, scaled, atol=1e-2, rtol=1e-2) and not same(once, x)


def _chain(layer: TracedLayer, stream: Tensor, time: int, depth: int) -> list[Block]:
    """Follow the stream from one addition to the next until it is what the layer gives."""
    for h, total in _additions(layer, stream, time) if depth < DEEPEST else ():
        block = _block(layer, stream, h)
        if block is None:
            continue
        if same(total.tensor, layer.output):
            return [block]
        # The sum is the next stream (pre-LN), or what a norm makes of it is (post-LN).
        if rest := _chain(layer, total.tensor, h.time, depth + 1):
            return [block, *rest]
        for norm in _norms_of(layer, total.tensor, h.time):
            block = Block(block.out, block.residual, norm.path)
            if same(norm.tensor, layer.output):
                return [block]
            if rest := _chain(layer, norm.tensor, norm.time, depth + 1):
                return [block, *rest]
    return []


def _additions(layer: TracedLayer, stream: Tensor, time: int) -> Iterator[tuple[Event, Event]]:
    """Yield (h, s) for each s = stream + h that a later module reads, or that the layer gives."""
    targets = [event for event in layer.inputs if event.time > time]
    branches = [event for event in layer.outputs if event.time > time]
    for target in (*targets, layer.leaves):
        if target.tensor.shape != stream.shape:
            continue
        wanted = target.tensor - stream
        # The last module that carries h is the one closest to the addition.
        found = [e for e in branches if e.time < target.time and same(e.tensor, wanted)]
        if found:
            yield found[-1], target


def _norms_of(layer: TracedLayer, total: Tensor, time: int) -> Iterator[Event]:
    """Yield what norms make of a sum."""
    for event in layer.inputs:
        if event.time > time and event.carries(total) and is_norm(event.module, total):
            yield _result_of(layer, event)


def _result_of(layer: TracedLayer, call: Event) -> Event:
    return next(e for e in layer.outputs if e.path == call.path and e.time > call.time)


def _block(layer: TracedLayer, stream: Tensor, h: Event) -> Block | None:
    """Describe the sub-block that gives h; None if no module shows its residual stream."""
    if (residual := _seen(layer, stream, h.time)) is None:
        return None
    normed = _normed(layer, h)
    if normed is not None:
        return Block(normed, (residual,), h.path, sandwich=True)
    return Block(h, (residual,))


def _normed(layer: TracedLayer, h: Event) -> Event | None:
    """Return what a norm at the end of a sub-block has read, as the module that gave it."""
    read = [e for e in layer.inputs if e.path == h.path and e.time < h.time]
    if not read or not is_norm(h.module, read[-1].tensor):
        return None
    given = [e for e in layer.outputs if e.time < read[-1].time and e.carries(read[-1].tensor)]
    return given[-1] if given else None


def _seen(layer: TracedLayer, stream: Tensor, before: int) -> str | None:
    """Return where a stream can be read before a time: the first module that takes or gives it."""
    for kind, events in (("in", layer.inputs), ("out", layer.outputs)):
        for event in events:
            if event.time < before and event.carries(stream):
                return f"{kind}:{event.path}"
    return None


def _side_by_side(layer: TracedLayer) -> list[Block]:
    """Return two sub-blocks that read one stream and are added to it together (GPT-J)."""
    branches = _distinct([e for e in layer.outputs if e.tensor.shape == layer.stream.shape])
    added = layer.output - layer.stream
    for index, first in enumerate(branches):
        for second in branches[index + 1 :]:
            if same(first.tensor + second.tensor, added):
                residual = _seen(layer, layer.stream, first.time)
                if residual is not None:
                    both = (residual, f"out:{first.path}")
                    return [Block(first, (residual,)), Block(second, both)]
    return []


def _distinct(events: list[Event]) -> list[Event]:
    """Return the last event of each tensor."""
    later = [(event, events[i + 1 :]) for i, event in enumerate(events)]
    return [event for event, rest in later if not any(event.carries(e.tensor) for e in rest)]
