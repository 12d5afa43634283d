"""Names for configurations, as people write them."""

from collections.abc import Mapping

from adapters_runtime.configs.base import AdapterConfig
from adapters_runtime.configs.bottleneck import (
    AdapterPlusConfig,
    CompacterConfig,
    CompacterPlusPlusConfig,
    DoubleSeqBnConfig,
    DoubleSeqBnInvConfig,
    ParBnConfig,
    SeqBnConfig,
    SeqBnInvConfig,
)
from adapters_runtime.configs.lora import (
    DoRAConfig,
    DvoRAConfig,
    IA3Config,
    LoRAConfig,
    VeraConfig,
)
from adapters_runtime.configs.mtl_lora import MTLLoRAConfig
from adapters_runtime.configs.prefix_tuning import PrefixTuningConfig
from adapters_runtime.configs.prompt_tuning import PromptTuningConfig
from adapters_runtime.configs.reft import DiReftConfig, LoReftConfig, NoReftConfig
from adapters_runtime.configs.union import MAMConfig, UniPELTConfig

DEFAULT_ADAPTER_CONFIG = "seq_bn"

_CURRENT: dict[str, AdapterConfig] = {
    "seq_bn": SeqBnConfig(),
    "double_seq_bn": DoubleSeqBnConfig(),
    "par_bn": ParBnConfig(),
    "scaled_par_bn": ParBnConfig(scaling="learned"),
    "seq_bn_inv": SeqBnInvConfig(),
    "double_seq_bn_inv": DoubleSeqBnInvConfig(),
    "adapter_plus": AdapterPlusConfig(),
    "compacter": CompacterConfig(),
    "compacter++": CompacterPlusPlusConfig(),
    "prefix_tuning": PrefixTuningConfig(),
    "prefix_tuning_flat": PrefixTuningConfig(flat=True),
    "prompt_tuning": PromptTuningConfig(),
    "lora": LoRAConfig(),
    "mtl_lora": MTLLoRAConfig(),
    "ia3": IA3Config(),
    "vera": VeraConfig(),
    "dora": DoRAConfig(),
    "dvora": DvoRAConfig(),
    "loreft": LoReftConfig(),
    "noreft": NoReftConfig(),
    "direft": DiReftConfig(),
    "mam": MAMConfig(),
    "unipelt": UniPELTConfig(),
}

DEPRECATED_NAMES: Mapping[str, str] = {
    "pfeiffer": "seq_bn",
    "houlsby": "double_seq_bn",
    "parallel": "par_bn",
    "scaled_parallel": "scaled_par_bn",
    "pfeiffer+inv": "seq_bn_inv",
    "houlsby+inv": "double_seq_bn_inv",
}
"""Names of older releases, and what they are called today."""

ADAPTER_CONFIG_MAP: Mapping[str, AdapterConfig] = _CURRENT | {
    old: _CURRENT[new] for old, new in DEPRECATED_NAMES.items()
}
