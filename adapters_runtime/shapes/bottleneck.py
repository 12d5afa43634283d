"""Tensors of bottlenecks, Compacters among them."""

from collections.abc import Iterator

from adapters_runtime.architectures import Layer
from adapters_runtime.configs import BnConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.shapes.base import BaseDescription, Shape


def bottleneck_tensors(
    name: str, config: BnConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield (key, shape) of every module in every layer, and of what Compacters share."""
    sizes = set()
    for layer in base.layers:
        if layer.index in config.leave_out:
            continue
        for site in layer.stack.sites:
            if config[site.key]:
                width = base.width(layer)
                down = bottleneck_width(width, config, layer)
                sizes.add((width, down))
                prefix = f"{layer.saved_path}.{site.saved_as}.adapters.{name}"
                for key, shape in _module(config, width, down):
                    yield f"{prefix}.{key}", shape
    if config.phm_layer and sizes:
        for key, shape in _shared(config, sizes):
            yield f"{base.shared_path}.{name}.{key}", shape


def bottleneck_width(width: int, config: BnConfig, layer: Layer) -> int:
    """Return the inner size; a reduction beyond the width leaves one feature, as in AdapterHub."""
    return max(1, int(width // config.reduction_at(layer.index)))


def _module(config: BnConfig, width: int, down: int) -> Iterator[tuple[str, Shape]]:
    # The norm, when there is one, comes first in the sequence that ends with the activation.
    if config.ln_before:
        yield from _norm("adapter_down.0", width)
    first = f"adapter_down.{int(config.ln_before)}"
    yield from _projection(first, width, down, config)
    yield from _projection("adapter_up", down, width, config)
    if config.ln_after:
        yield from _norm("adapter_norm_after", width)
    if config.scaling == "learned":
        yield "scaling", (1,)
    if config.scaling == "channel":
        yield "scaling", (width,)
    if config.use_gating:
        yield "gate.weight", (1, width)
        yield "gate.bias", (1,)


def _norm(path: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{path}.weight", (width,)
    yield f"{path}.bias", (width,)


def _projection(
    path: str, inputs: int, outputs: int, config: BnConfig
) -> Iterator[tuple[str, Shape]]:
    if not config.phm_layer:
        yield f"{path}.weight", (outputs, inputs)
        yield f"{path}.bias", (outputs,)
        return
    if not config.shared_phm_rule:
        yield from _rule(f"{path}.phm_rule", config)
    if not config.shared_W_phm:
        yield from _kronecker(f"{path}.W", inputs, outputs, config)
    if config.phm_bias:
        yield f"{path}.b", (outputs,)


def _shared(config: BnConfig, sizes: set[tuple[int, int]]) -> Iterator[tuple[str, Shape]]:
    """Yield what all modules of a Compacter have in common."""
    if config.shared_phm_rule:
        yield from _rule("phm_rule", config)
    if config.shared_W_phm:
        if len(sizes) > 1:
            raise ConfigError(
                "shared_W_phm needs the same sizes in all layers, and here there are (width, "
                f"bottleneck) = {sorted(sizes)}; give all layers one reduction_factor"
            )
        width, down = next(iter(sizes))
        yield from _kronecker("W_down", width, down, config)
        yield from _kronecker("W_up", down, width, config)


def _rule(path: str, config: BnConfig) -> Iterator[tuple[str, Shape]]:
    n = config.phm_dim
    if config.factorized_phm_rule:
        yield f"{path}_left", (n, n, 1)
        yield f"{path}_right", (n, 1, n)
    else:
        yield path, (n, n, n)


def _kronecker(
    path: str, inputs: int, outputs: int, config: BnConfig
) -> Iterator[tuple[str, Shape]]:
    n = config.phm_dim
    if inputs % n or outputs % n:
        raise ConfigError(
            f"phm_dim={n} must divide the width and the bottleneck, which are {inputs} and "
            f"{outputs} here; choose another phm_dim or reduction_factor"
        )
    if config.factorized_phm_W:
        yield f"{path}_left", (n, inputs // n, config.phm_rank)
        yield f"{path}_right", (n, config.phm_rank, outputs // n)
    else:
        yield path, (n, inputs // n, outputs // n)
