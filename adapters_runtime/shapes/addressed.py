"""Tensors of adapters whose configuration names modules by their paths, as PEFT's do."""

from collections.abc import Iterator

from adapters_runtime.configs import (
    OwnBiasesConfig,
    OwnModulesConfig,
    PeftIA3Config,
    PeftLoRAConfig,
)
from adapters_runtime.errors import ConfigError
from adapters_runtime.shapes.base import BaseDescription, Shape

_LOOKUPS = ("embed", "shared", "wte", "wpe", "relative_attention_bias")
"""What the names of embeddings have in them; their tables are (tokens, width)."""


def peft_lora_tensors(
    name: str, config: PeftLoRAConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    for path, rank in config.ranks.items():
        outputs, inputs = _sizes(base, path)
        at = f"{path}.loras.{name}"
        yield f"{at}.lora_A", (rank, inputs)
        yield f"{at}.lora_B", (outputs, rank)
        if config.lora_bias:
            yield f"{at}.lora_bias", (outputs,)
        if config.use_dora:
            yield f"{at}.magnitude", (outputs,)


def peft_ia3_tensors(
    name: str, config: PeftIA3Config, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    for path in config.outputs:
        yield f"{path}.loras.{name}.factors", _sizes(base, path)[:1]
    for path in config.inputs:
        yield f"{path}.loras.{name}.factors", _sizes(base, path)[1:]


def own_bias_tensors(
    name: str, config: OwnBiasesConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    for path in config.modules:
        yield f"{path}.own_biases.{name}.bias", _shape(base, f"{path}.bias")


def own_module_tensors(
    name: str, config: OwnModulesConfig, _: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield what the configuration says: heads, which a base does not have, are among them."""
    for path, tensors in config.modules.items():
        for key, shape in tensors.items():
            yield f"{path}.own_modules.{name}.{key}", tuple(shape)


def _sizes(base: BaseDescription, path: str) -> tuple[int, int]:
    """Return (out, in) of a map; an embedding is one from one-hot vectors."""
    shape = _shape(base, f"{path}.weight")
    if len(shape) != 2:
        raise ConfigError(f"{path}.weight is {list(shape)}, and no matrix")
    last = path.rpartition(".")[2]
    turned = base.architecture.conv1d or any(word in last for word in _LOOKUPS)
    return (shape[1], shape[0]) if turned else (shape[0], shape[1])


def _shape(base: BaseDescription, key: str) -> Shape:
    if key not in base.tensors:
        raise ConfigError(f"{base.model_type} has no {key} in its base, and the adapter names it")
    return base.tensors[key]
