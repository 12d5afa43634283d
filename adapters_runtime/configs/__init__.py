"""Configurations of every method: immutable data, read from names, expressions and documents."""

from typing import Any

from adapters_runtime.configs.base import AdapterConfig, LayeredConfig
from adapters_runtime.configs.bottleneck import (
    AdapterPlusConfig,
    BnConfig,
    CompacterConfig,
    CompacterPlusPlusConfig,
    DoubleSeqBnConfig,
    DoubleSeqBnInvConfig,
    ParBnConfig,
    SeqBnConfig,
    SeqBnInvConfig,
)
from adapters_runtime.configs.deprecated import replacement_for
from adapters_runtime.configs.embedding_rows import EmbeddingRowsConfig
from adapters_runtime.configs.fusion import (
    ADAPTERFUSION_CONFIG_MAP,
    DEFAULT_ADAPTERFUSION_CONFIG,
    AdapterFusionConfig,
    DynamicAdapterFusionConfig,
    StaticAdapterFusionConfig,
)
from adapters_runtime.configs.hashing import get_adapter_config_hash
from adapters_runtime.configs.kinds import AdapterMethod
from adapters_runtime.configs.lora import (
    DoRAConfig,
    DvoRAConfig,
    IA3Config,
    LoRAConfig,
    VeraConfig,
)
from adapters_runtime.configs.mtl_lora import MTLLoRAConfig
from adapters_runtime.configs.parsing import load_config, parse_expression
from adapters_runtime.configs.peft import (
    OwnBiasesConfig,
    OwnModulesConfig,
    PeftIA3Config,
    PeftLoRAConfig,
    PeftPrefixConfig,
    PeftPromptConfig,
)
from adapters_runtime.configs.prefix_tuning import PrefixTuningConfig
from adapters_runtime.configs.presets import (
    ADAPTER_CONFIG_MAP,
    DEFAULT_ADAPTER_CONFIG,
)
from adapters_runtime.configs.prompt_tuning import PromptTuningConfig
from adapters_runtime.configs.reft import DiReftConfig, LoReftConfig, NoReftConfig, ReftConfig
from adapters_runtime.configs.signature import map_parts, method_name, parts_of, signature
from adapters_runtime.configs.union import ConfigUnion, MAMConfig, UniPELTConfig

__all__ = [
    "ADAPTERFUSION_CONFIG_MAP",
    "ADAPTER_CONFIG_MAP",
    "DEFAULT_ADAPTERFUSION_CONFIG",
    "DEFAULT_ADAPTER_CONFIG",
    "AdapterConfig",
    "AdapterFusionConfig",
    "AdapterMethod",
    "AdapterPlusConfig",
    "BnConfig",
    "CompacterConfig",
    "CompacterPlusPlusConfig",
    "ConfigUnion",
    "DiReftConfig",
    "DoRAConfig",
    "DoubleSeqBnConfig",
    "DoubleSeqBnInvConfig",
    "DvoRAConfig",
    "DynamicAdapterFusionConfig",
    "EmbeddingRowsConfig",
    "IA3Config",
    "LayeredConfig",
    "LoRAConfig",
    "LoReftConfig",
    "MAMConfig",
    "MTLLoRAConfig",
    "NoReftConfig",
    "OwnBiasesConfig",
    "OwnModulesConfig",
    "ParBnConfig",
    "PeftIA3Config",
    "PeftLoRAConfig",
    "PeftPrefixConfig",
    "PeftPromptConfig",
    "PrefixTuningConfig",
    "PromptTuningConfig",
    "ReftConfig",
    "SeqBnConfig",
    "SeqBnInvConfig",
    "StaticAdapterFusionConfig",
    "UniPELTConfig",
    "VeraConfig",
    "get_adapter_config_hash",
    "load_config",
    "map_parts",
    "method_name",
    "parse_expression",
    "parts_of",
    "signature",
]


def __getattr__(name: str) -> Any:
    """Give the class of today for one of an older release, with a warning."""
    replacement = replacement_for(name)
    if replacement is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[replacement]
