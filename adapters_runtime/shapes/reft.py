"""Tensors of ReFT."""

from collections.abc import Iterator

from adapters_runtime.configs import ReftConfig
from adapters_runtime.shapes.base import BaseDescription, Shape


def reft_tensors(
    name: str, config: ReftConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield (key, shape) of the one or two units of each layer."""
    if not config.output_reft:
        return
    touched = config.layers_within(len(base.layers))
    # One for each end, also when the configuration edits no position there.
    units = 1 if config.tied_weights else 2
    for layer in base.layers:
        if layer.index in touched:
            for unit in range(units):
                prefix = f"{layer.saved_path}.reft_layer.refts.{name}.units.{unit}"
                for key, shape in _unit(config, base.width(layer)):
                    yield f"{prefix}.{key}", shape


def _unit(config: ReftConfig, width: int) -> Iterator[tuple[str, Shape]]:
    yield "learned_source.weight", (config.r, width)
    yield "learned_source.bias", (config.r,)
    if config.orthogonality:
        # What torch's orthogonal parametrisation keeps in place of the weight.
        yield "projection.parametrizations.weight.original", (config.r, width)
        yield "projection.parametrizations.weight.0.base", (width, width)
    else:
        yield "projection.weight", (config.r, width)
