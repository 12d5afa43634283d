"""What an adapter offers to its partners in a set-up, as far as its configuration tells.

Points are places in a layer, or in the model:

attention, output, cross       bottlenecks after self-attention, feed-forward, cross-attention
query, key, value              linear maps of self-attention (LoRA and its kin)
intermediate, ffn_output       linear maps of the feed-forward block
self_prefix, encoder_prefix,   keys and values before those of self-attention (in an encoder-
cross_prefix                   decoder's encoder: encoder_prefix) and of cross-attention
layer                          output of the whole layer (ReFT)
prompt                         before the text
"""

from collections.abc import Callable
from typing import Any

from adapters_runtime.configs.base import AdapterConfig
from adapters_runtime.configs.bottleneck import BnConfig
from adapters_runtime.configs.embedding_rows import EmbeddingRowsConfig
from adapters_runtime.configs.lora import LoRAConfig
from adapters_runtime.configs.mtl_lora import MTLLoRAConfig
from adapters_runtime.configs.reft import ReftConfig
from adapters_runtime.configs.union import ConfigUnion
from adapters_runtime.errors import ConfigError

# Not points: the signature has fields of their own for them.
_OWN_FIELDS = frozenset({"invertible", "embedding_rows"})


def signature(config: AdapterConfig, num_layers: int) -> dict[str, Any]:
    """Return method, layers, points, invertible kind, and whether there are embedding rows.

    `num_layers` counts all stacks: an encoder-decoder's decoder goes on where its encoder ends.
    """
    parts = parts_of(config)
    return {
        "method": method_name(config),
        "layers": list(config.layers_within(num_layers)),
        "points": sorted(config.places() - _OWN_FIELDS),
        "invertible": _invertible(parts),
        "rows": any(isinstance(part, EmbeddingRowsConfig) for part in parts),
    }


def parts_of(config: AdapterConfig) -> tuple[AdapterConfig, ...]:
    """Return the parts of a union, or the configuration itself."""
    return config.configs if isinstance(config, ConfigUnion) else (config,)


def map_parts(
    change: Callable[[AdapterConfig], AdapterConfig], config: AdapterConfig
) -> AdapterConfig:
    """Return a configuration with all parts of its union changed, or itself."""
    if isinstance(config, ConfigUnion):
        return ConfigUnion(*(map_parts(change, part) for part in config.configs))
    return change(config)


def method_name(config: AdapterConfig) -> str:
    """Return the method in one word; a union's parts are sorted and joined by `|`.

    Sizes, activations and invertible parts do not show in it, and neither do embedding rows next
    to another method.
    """
    parts = parts_of(config)
    named = [part for part in parts if not isinstance(part, EmbeddingRowsConfig)] or list(parts)
    return "|".join(sorted(_part_name(part) for part in named))


def _part_name(part: AdapterConfig) -> str:
    if isinstance(part, BnConfig):
        return _bottleneck_name(part)
    if isinstance(part, LoRAConfig):
        return _lora_name(part)
    if isinstance(part, ReftConfig):
        if part.orthogonality:
            return "loreft"
        return "noreft" if part.subtract_projection else "direft"
    return str(part.architecture)


def _bottleneck_name(part: BnConfig) -> str:
    if part.phm_layer:
        return {(True, True): "compacter", (False, True): "compacter++"}.get(
            (part.mh_adapter, part.output_adapter), "mh_compacter"
        )
    if part.scaling == "channel" and not part.original_ln_after:
        return "adapter_plus"
    kind = "par_bn" if part.is_parallel else "seq_bn"
    placement = {(True, True): "double_", (False, True): "", (True, False): "mh_"}
    return placement.get((part.mh_adapter, part.output_adapter), "cross_") + kind


def _lora_name(part: LoRAConfig) -> str:
    if isinstance(part, MTLLoRAConfig):
        return "mtl_lora"
    if part.is_ia3:
        return "ia3"
    if part.is_vera:
        return "dvora" if part.use_dora else "vera"
    return "dora" if part.use_dora else "lora"


def _invertible(parts: tuple[AdapterConfig, ...]) -> str | None:
    kinds = {part.inv_adapter for part in parts if isinstance(part, BnConfig)} - {None}
    if len(kinds) > 1:
        raise ConfigError(
            f"a union has more than one invertible adapter: {sorted(map(str, kinds))}"
        )
    return kinds.pop() if kinds else None
