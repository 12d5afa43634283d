"""Whether prefixes can enter an attention, and what they need to know of it."""

from dataclasses import replace
from typing import NamedTuple

from adapters_runtime.architectures import Attention
from adapters_runtime.derive.layers import TracedLayer
from adapters_runtime.derive.projections import Probe
from adapters_runtime.derive.tracing import Attended, same
from adapters_runtime.derive.written_out import scales_queries


class Entrance(NamedTuple):
    """What was seen of an attention that the runtime would enter around its softmax."""

    scaled_query: bool | None
    """None if its scores are more than scaled products, masked and biased."""
    dropout: str | None
    joined: bool
    """Whether its output projection reads what the heads give, side by side."""

    @property
    def open(self) -> bool:
        return self.scaled_query is not None and self.joined


def admits_prefixes(layer: TracedLayer, attention: Attention, probe: Probe) -> bool:
    """Return whether the runtime can put prefixes before the keys of an attention."""
    calls = _calls(layer, attention)
    if len(calls) != 1:  # DiffLlama's attends twice
        return False
    return calls[0].written is None or _entrance(layer, attention, calls[0], probe).open


def with_entrance(layer: TracedLayer, attention: Attention, probe: Probe) -> Attention:
    """Return the description of an attention with what prefixes need to know, as far as seen."""
    call = _calls(layer, attention)[0]
    if call.written is None:
        return attention
    found = _entrance(layer, attention, call, probe)
    return replace(
        attention,
        scaled_query=bool(found.scaled_query),
        dropout=found.dropout,
    )


def entrance_gap(layer: TracedLayer, attention: Attention, probe: Probe, name: str) -> str | None:
    """Return what is wrong with how prefixes would enter; None if nothing is seen to be."""
    call = next(iter(_calls(layer, attention)), None)
    if call is None or call.written is None:
        return f"{name} is not seen to attend around a softmax"
    found = _entrance(layer, attention, call, probe)
    if found.scaled_query is not None and found.scaled_query != attention.scaled_query:
        return f"{name} scales its {'queries' if found.scaled_query else 'scores'}"
    if not found.joined:
        return f"{attention.output} does not read what the heads of {name} give"
    return None


def _calls(layer: TracedLayer, attention: Attention) -> list[Attended]:
    module = layer.module.get_submodule(attention.path)
    return [call for call in layer.attended if call.module is module]


def _entrance(layer: TracedLayer, attention: Attention, call: Attended, probe: Probe) -> Entrance:
    assert call.written is not None
    mixed = call.written.mixed
    side_by_side = mixed.transpose(1, 2).flatten(2) if mixed.dim() == 4 else mixed
    later = [e for e in layer.inputs if e.path == attention.output and e.time > call.time]
    joined = bool(later) and later[0].carries(side_by_side)
    return Entrance(_scales(call, probe), _dropout(layer, attention, call), joined)


def _scales(call: Attended, probe: Probe) -> bool | None:
    number = [other.module for other in probe.plain].index(call.module)
    if number >= len(probe.other) or call.written is None:
        return None
    other = probe.other[number]
    if other.written is None:
        return None
    others = other.query, other.key, other.written.scores
    return scales_queries(call.query, call.key, call.written.scores, others)


def _dropout(layer: TracedLayer, attention: Attention, call: Attended) -> str | None:
    """Return the module, within the attention, that may drop weights."""
    assert call.written is not None
    weights = call.written.weights
    inside = [e for e in layer.outputs if e.path.startswith(f"{attention.path}.")]
    for event in inside:
        drops = type(event.module).__name__.endswith("Dropout") and event.time < call.time
        if drops and same(event.tensor, weights.to(event.tensor.dtype)):
            return event.path.removeprefix(f"{attention.path}.")
    return None
