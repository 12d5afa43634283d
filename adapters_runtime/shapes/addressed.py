"""Tensors of adapters whose configuration names modules by their paths, as PEFT's do."""

import re
from collections.abc import Iterator, Mapping

from adapters_runtime.configs import (
    OwnBiasesConfig,
    OwnModulesConfig,
    PeftIA3Config,
    PeftLoRAConfig,
)
from adapters_runtime.errors import ConfigError
from adapters_runtime.shapes.base import BaseDescription, Shape

_LOOKUPS = re.compile(
    r".*embeddings?|embed_(in|positions|tokens)|shared|wpe|wte|relative_attention_bias"
)
"""What embeddings are called; their tables are (tokens, width)."""


def peft_lora_tensors(
    name: str, config: PeftLoRAConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    for path, rank in config.ranks.items():
        outputs, inputs = _sizes(base, config, path)
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
        yield f"{path}.loras.{name}.factors", _sizes(base, config, path)[:1]
    for path in config.inputs:
        yield f"{path}.loras.{name}.factors", _sizes(base, config, path)[1:]


def own_bias_tensors(
    name: str, config: OwnBiasesConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    for path in config.modules:
        yield f"{path}.own_biases.{name}.bias", _bias(base, config, path)


def own_module_tensors(
    name: str, config: OwnModulesConfig, _: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield what the configuration says: heads, which a base does not have, are among them."""
    for path, tensors in config.modules.items():
        for key, shape in tensors.items():
            yield f"{path}.own_modules.{name}.{key}", tuple(shape)


def _sizes(
    base: BaseDescription, config: PeftLoRAConfig | PeftIA3Config, path: str
) -> tuple[int, int]:
    """Return (out, in) of a map; an embedding is one from one-hot vectors.

    What the base lacks is a head's, whose sizes the configuration says.
    """
    key = f"{path}.weight"
    own = base.tensors.get(key)
    shape = _head(base, config.heads, path, key) if own is None else own
    if len(shape) != 2:
        raise ConfigError(f"{key} is {list(shape)}, and no matrix")
    last = path.rpartition(".")[2]
    turned = own is not None and (base.keeps_turned(path) or _LOOKUPS.fullmatch(last))
    return (shape[1], shape[0]) if turned else (shape[0], shape[1])


def _bias(base: BaseDescription, config: OwnBiasesConfig, path: str) -> Shape:
    key = f"{path}.bias"
    return base.tensors.get(key) or _head(base, config.heads, path, key)[:1]


def _head(base: BaseDescription, heads: Mapping[str, Shape] | None, path: str, key: str) -> Shape:
    if path not in (heads or {}):
        raise ConfigError(
            f"{base.model_type} has no {key} in its base, and the adapter names it; when it is a "
            "head's, load the adapter into the model with that head and save it again"
        )
    return tuple((heads or {})[path])
