"""Which tensors an adapter has, from its configuration and its base alone."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from adapters_runtime.configs import (
    AdapterConfig,
    AdapterFusionConfig,
    BnConfig,
    ConfigUnion,
    EmbeddingRowsConfig,
    LoRAConfig,
    OwnBiasesConfig,
    OwnModulesConfig,
    PeftIA3Config,
    PeftLoRAConfig,
    PeftPromptConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    ReftConfig,
    parts_of,
)
from adapters_runtime.errors import ConfigError, UnsupportedSite
from adapters_runtime.shapes.addressed import (
    own_bias_tensors,
    own_module_tensors,
    peft_ia3_tensors,
    peft_lora_tensors,
)
from adapters_runtime.shapes.base import BaseDescription, Shape
from adapters_runtime.shapes.bottleneck import bottleneck_tensors
from adapters_runtime.shapes.linear import lora_tensors
from adapters_runtime.shapes.prefix import prefix_tensors
from adapters_runtime.shapes.reft import reft_tensors
from adapters_runtime.shapes.stream import invertible_tensors, prompt_tensors, rows_tensors

Tensors = Iterable[tuple[str, Shape]]

_WORDS = {"mh_adapter": "attention", "output_adapter": "output", "cross_adapter": "cross"}
"""Site of a bottleneck -> its word in a signature."""

_TENSORS: dict[type[AdapterConfig], tuple[Callable[[str, Any, BaseDescription], Tensors], ...]] = {
    BnConfig: (bottleneck_tensors, invertible_tensors),
    EmbeddingRowsConfig: (rows_tensors,),
    LoRAConfig: (lora_tensors,),
    OwnBiasesConfig: (own_bias_tensors,),
    OwnModulesConfig: (own_module_tensors,),
    PeftIA3Config: (peft_ia3_tensors,),
    PeftLoRAConfig: (peft_lora_tensors,),
    PeftPromptConfig: (prompt_tensors,),
    PrefixTuningConfig: (prefix_tensors,),
    PromptTuningConfig: (prompt_tensors,),
    ReftConfig: (reft_tensors,),
}


def expected_tensors(name: str, config: AdapterConfig, base: BaseDescription) -> dict[str, Shape]:
    """Return {key: shape} of the adapter's file, keys relative to the base model.

    That is the canonical file: AdapterHub's names, and each tensor once. Where AdapterHub repeats a
    tensor under a second name, see `adapters_runtime.shapes.copies`. Raises UnsupportedSite when
    the base has no place for some part, ConfigError when the configuration does not fit the base.
    """
    if isinstance(config, ConfigUnion):
        config.check_overlap(len(base.layers))
    tensors: dict[str, Shape] = {}
    for part in parts_of(config):
        found = dict(_part_tensors(name, part, base))
        if not found:
            raise UnsupportedSite(base.model_type, _wanted(part), available_places(base))
        if twice := sorted(found.keys() & tensors.keys()):
            raise ConfigError(f"two parts of the union both have the tensor {twice[0]}")
        tensors |= found
    return tensors


def expected_fusion_tensors(
    name: str,
    config: AdapterFusionConfig,
    members: Sequence[AdapterConfig],
    base: BaseDescription,
) -> dict[str, Shape]:
    """Return {key: shape} of a fusion's file."""
    return fusion_tensors_at(name, config, fused_sites(members), base)


def fusion_tensors_at(
    name: str, config: AdapterFusionConfig, sites: Collection[str], base: BaseDescription
) -> dict[str, Shape]:
    """Return {key: shape} of a fusion that stands at these sites (see `fused_sites`)."""
    return {
        f"{layer.saved_path}.{site.saved_as}.adapter_fusion_layer.{name}.{key}": shape
        for layer in base.layers
        for site in layer.stack.sites
        if site.key in sites
        for key, shape in _fusion(config, base.width(layer))
    }


def fused_points(sites: Iterable[str]) -> list[str]:
    """Return sites in the words of a signature."""
    return sorted(_WORDS[site] for site in sites)


def fused_sites(members: Iterable[AdapterConfig]) -> set[str]:
    """Return where a fusion stands: where all its members do, in every layer, left out or not."""
    members = list(members)
    return {
        site
        for site in _WORDS
        if all(
            any(isinstance(part, BnConfig) and part[site] for part in parts_of(member))
            for member in members
        )
    }


def available_places(base: BaseDescription) -> list[str]:
    """Return the places that the base has, in the words of a signature."""
    stacks = base.architecture.stacks
    sites = {_WORDS[site.key] for stack in stacks for site in stack.sites}
    prefixes = {f"{attention.role}_prefix" for stack in stacks for attention in stack.attentions}
    prompts = set() if base.architecture.prompts is None else {"prompt"}
    return sorted(
        sites | prefixes | prompts | {"query", "key", "value", "intermediate", "ffn_output"}
    )


def _part_tensors(name: str, part: AdapterConfig, base: BaseDescription) -> Tensors:
    for kind, functions in _TENSORS.items():
        if isinstance(part, kind):
            return chain.from_iterable(function(name, part, base) for function in functions)
    raise ConfigError(f"{type(part).__name__} is no configuration of an adapter")


def _wanted(part: AdapterConfig) -> str:
    return ", ".join(sorted(part.places())) or "nothing"


def _fusion(config: AdapterFusionConfig, width: int) -> Iterator[tuple[str, Shape]]:
    if not (config.query or config.key or config.value):
        yield "dense.weight", (1, width)
        yield "dense.bias", (1,)
    for matrix in ("query", "key"):
        if config[matrix]:
            yield f"{matrix}.weight", (width, width)
            yield f"{matrix}.bias", (width,)
    if config.value:
        yield "value.weight", (width, width)
