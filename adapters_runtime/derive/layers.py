"""The lists of equal layers that a model runs, and what happened in each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from adapters_runtime.architectures import LayerStack
from adapters_runtime.derive.linear_maps import is_linear
from adapters_runtime.derive.tracing import Attended, Event, Trace


@dataclass(frozen=True)
class TracedLayer:
    """The first call of one layer. Paths are relative to the layer."""

    path: str
    module: nn.Module
    enters: Event
    leaves: Event
    trace: Trace

    @property
    def stream(self) -> Tensor:
        return self.enters.tensor

    @property
    def output(self) -> Tensor:
        return self.leaves.tensor

    @cached_property
    def events(self) -> list[Event]:
        """All events of modules inside, with paths relative to the layer."""
        root = f"{self.path}."
        return [
            event._replace(path=event.path.removeprefix(root), tensor=self._by_rows(event.tensor))
            for event in self.trace.events
            if event.path.startswith(root) and self.enters.time < event.time < self.leaves.time
        ]

    def _by_rows(self, tensor: Tensor) -> Tensor:
        """Return a tensor of a list of tokens as one of rows of tokens."""
        return tensor.unflatten(0, self.stream.shape[:-1]) if self._is_list(tensor) else tensor

    def _is_list(self, tensor: Tensor) -> bool:
        return tensor.dim() == 2 and tensor.shape[0] == self.stream[..., 0].numel()

    def flattens(self, path: str) -> bool:
        """Return whether the map at a path reads the tokens of all rows as one list."""
        whole = f"{self.path}.{path}"
        return any(e.path == whole and self._is_list(e.tensor) for e in self.trace.events)

    @cached_property
    def inputs(self) -> list[Event]:
        return [event for event in self.events if not event.after]

    @cached_property
    def outputs(self) -> list[Event]:
        return [event for event in self.events if event.after]

    @cached_property
    def attended(self) -> list[Attended]:
        inside = set(self.module.modules())
        return [
            call
            for call in self.trace.attended
            if call.module in inside and self.enters.time < call.time < self.leaves.time
        ]

    def linears(self, start: int, end: int) -> list[Event]:
        """Return the calls, in their order, of linear maps that end after `start`, up to `end`."""
        return [e for e in self.outputs if start < e.time <= end and is_linear(e.module)]

    def path_of(self, module: nn.Module) -> str:
        return str(next(path for path, m in self.module.named_modules() if m is module))


def trace_layer(trace: Trace, path: str, module: nn.Module) -> TracedLayer | None:
    """Return the first call of a layer; None if it was not called, or carries no stream."""
    calls = [event for event in trace.events if event.path == path]
    enters = next((event for event in calls if not event.after), None)
    leaves = next((event for event in calls if event.after), None)
    if enters is None or leaves is None or enters.tensor.shape != leaves.tensor.shape:
        return None
    return TracedLayer(path, module, enters, leaves, trace)


def flattened(layer: TracedLayer, stack: LayerStack) -> list[str]:
    """Return the places of a stack at which its layer has the tokens of all rows as one list."""
    residual = [path.partition(":")[2] for site in stack.sites for path in site.residual]
    maps = () if stack.ffn_out is None else (*stack.ffn_in, stack.ffn_out)
    places = (*maps, *(site.out for site in stack.sites), *residual)
    return [path for path in dict.fromkeys(places) if layer.flattens(path)]


def traced_stacks(model: nn.Module, trace: Trace) -> dict[str, list[TracedLayer]]:
    """Return the layers of each stack, by its path as `LayerStack.path` writes it."""
    lists = {path: found for path, m in model.named_modules() if (found := _layers(m, path, trace))}
    stacks: dict[str, list[TracedLayer]] = {}
    for path, layers in lists.items():
        if not any(other.startswith(f"{path}.") for other in lists):
            stacks.setdefault(re.sub(r"\.\d+(?=\.)", ".*", path), []).extend(layers)
    return stacks


def _layers(module: nn.Module, path: str, trace: Trace) -> list[TracedLayer]:
    if not isinstance(module, nn.ModuleList) or len({type(child) for child in module}) != 1:
        return []
    if sum(is_linear(inner) for inner in module[0].modules()) < 3:
        return []
    found = list(_traced(module, path, trace))
    return found if len(found) == len(module) else []


def _traced(children: nn.ModuleList, path: str, trace: Trace) -> Iterator[TracedLayer]:
    for index, child in enumerate(children):
        layer = trace_layer(trace, f"{path}.{index}", child)
        if layer is not None:
            yield layer
