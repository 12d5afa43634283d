"""What stands around the layers: the embeddings before them, poolers behind."""

from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor, nn

from adapters_runtime.derive.layers import TracedLayer
from adapters_runtime.derive.tracing import Event, Trace, same


def token_lookups(token_embedding: nn.Module | None, trace: Trace) -> list[str]:
    """Return the modules that look tokens up with the weight of the token embedding."""
    if token_embedding is None:
        return []
    called = {
        event.path: None
        for event in trace.events
        if isinstance(event.module, nn.Embedding) and event.module.weight is token_embedding.weight
    }
    return list(called)


def embedding_output(first: TracedLayer, lookups: Sequence[str]) -> str | None:
    """Return the module whose output enters the first layer.

    Where the model goes on without a module (positions are added, or the width is scaled), the
    stream begins where tokens are looked up.
    """
    before = [e for e in first.trace.events if e.after and e.time < first.enters.time]
    entering = [event for event in before if event.carries(first.stream)]
    if entering:
        return entering[-1].path
    looked_up = [event for event in before if event.path in lookups]
    return looked_up[-1].path if looked_up else None


def embedding_prefixes(model: nn.Module, stacks: Iterable[Sequence[TracedLayer]]) -> list[str]:
    """Return prefixes of the parameters that are used before the layers."""
    stacks = list(stacks)
    trace = stacks[0][0].trace
    used = {event.path for event in trace.events if _leads_to_layers(event, stacks)}
    return _prefixes(model, _owned(model, used))


def pooler_prefixes(model: nn.Module, trace: Trace) -> list[str]:
    """Return prefixes of the parameters that the last hidden state does not depend on."""
    if trace.output is None:
        return []
    made = [e.time for e in trace.events if e.after and same(e.tensor, trace.output)]
    last = max(made, default=len(trace.events) + len(trace.attended))
    later = {event.path for event in trace.events if not event.after and event.time > last}
    earlier = {event.path for event in trace.events if not event.after and event.time < last}
    return _prefixes(model, _owned(model, later - earlier))


def is_causal(changed: Trace, layers: Sequence[TracedLayer]) -> bool:
    """Return whether the first token's result is the same when the last token is another."""
    before, after = layers[-1].output, _output_of(changed, layers[-1].path)
    return after is not None and torch.equal(before[:, 0], after[:, 0])


def _output_of(trace: Trace, path: str) -> Tensor | None:
    return next((e.tensor for e in trace.events if e.after and e.path == path), None)


def _leads_to_layers(event: Event, stacks: Sequence[Sequence[TracedLayer]]) -> bool:
    """Return whether a module runs before a stack, and does not belong to one that has run."""
    done = [layers for layers in stacks if layers[0].enters.time <= event.time]
    belongs = max((_kinship(event.path, layers[0].path) for layers in done), default=-1)
    return any(
        layers not in done and _kinship(event.path, layers[0].path) > belongs for layers in stacks
    )


def _kinship(path: str, other: str) -> int:
    """Return how many modules, counted from the model, contain both."""
    pairs = zip(path.split("."), other.split("."), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), 0)


def _owned(model: nn.Module, paths: Collection[str]) -> set[str]:
    """Return the names of the parameters that the modules at these paths have themselves."""
    modules = dict(model.named_modules())
    mine = {
        id(parameter) for path in paths for parameter in modules[path].parameters(recurse=False)
    }
    return {name for name, parameter in model.named_parameters() if id(parameter) in mine}


def _prefixes(model: nn.Module, names: set[str]) -> list[str]:
    """Return the shortest prefixes, each of whole modules, that these and no other names have."""
    others = [name for name, _ in model.named_parameters() if name not in names]
    return list(dict.fromkeys(_prefix(name, others) for name in sorted(names)))


def _prefix(name: str, others: Sequence[str]) -> str:
    parts = name.split(".")
    for count in range(1, len(parts)):
        prefix = ".".join(parts[:count]) + "."
        if not any(other.startswith(prefix) for other in others):
            return prefix
    return name
