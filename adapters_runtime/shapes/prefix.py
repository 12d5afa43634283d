"""Tensors of prefix tuning: one pool for the model, and gates in each attention."""

from collections.abc import Iterator

from adapters_runtime.architectures import Attention, Layer
from adapters_runtime.configs import PrefixTuningConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.shapes.base import BaseDescription, Shape


def prefix_tensors(
    name: str, config: PrefixTuningConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield (key, shape) of the prefixes of each location, and of the gates of each attention."""
    locations: dict[tuple[str, str], list[tuple[Layer, Attention]]] = {}
    for layer, attention in _attentions(config, base):
        location = attention.prefixes_saved_as or f"{attention.role}_prefix"
        locations.setdefault((layer.stack.pool, location), []).append((layer, attention))
    for (pool, location), places in locations.items():
        width = _common_width(base, location, places)
        inputs = base.width(places[0][0])
        for key, shape in _pool(config, len(places) * 2 * width, inputs):
            yield f"{pool}.prefix_tunings.{name}.{location}.{key}", shape
    if config.use_gating:
        for layer, attention in _attentions(config, base):
            path = f"{layer.saved_path}.{layer.stack.saved_as(attention.path)}"
            gates = 1 if config.shared_gating else 2
            prefix = f"{path}.prefix_tuning.prefix_gates.{name}"
            yield f"{prefix}.weight", (gates, base.width(layer))
            yield f"{prefix}.bias", (gates,)


def _attentions(
    config: PrefixTuningConfig, base: BaseDescription
) -> Iterator[tuple[Layer, Attention]]:
    """Yield the attentions that get prefixes, in the order in which the pool holds them."""
    for layer in base.layers:
        if layer.index in config.leave_out:
            continue
        for attention in layer.stack.attentions:
            if f"{attention.role}_prefix" in config.places():
                yield layer, attention


def _common_width(
    base: BaseDescription, location: str, places: list[tuple[Layer, Attention]]
) -> int:
    widths = {base.key_width(layer, attention) for layer, attention in places}
    if len(widths) > 1:
        raise ConfigError(
            f"prefixes of {location} come out of one matrix, so that keys must be equally wide in "
            f"all its layers; here they are {sorted(widths)}: leave some layers out"
        )
    return widths.pop()


def _pool(config: PrefixTuningConfig, outputs: int, inputs: int) -> Iterator[tuple[str, Shape]]:
    """Yield what makes `outputs` features per place: a key and a value in each layer."""
    if config.flat:
        yield "control_trans", (config.prefix_length * outputs,)
        return
    yield "wte.weight", (config.prefix_length, inputs)
    yield "control_trans.0.weight", (config.bottleneck_size, inputs)
    yield "control_trans.0.bias", (config.bottleneck_size,)
    yield "control_trans.2.weight", (outputs, config.bottleneck_size)
    yield "control_trans.2.bias", (outputs,)
