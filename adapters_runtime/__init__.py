"""Adapters for transformers models: methods, compositions and heads, without copied code.

Names are imported when they are first used, so that the parts which need no torch (`configs`,
`architectures`, `composition`, `shapes`) can be had without it.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "adapters_runtime.composition": (
        "AdapterCompositionBlock",
        "Average",
        "BatchSplit",
        "Fuse",
        "MultiTask",
        "Parallel",
        "Split",
        "Stack",
        "parse_composition",
    ),
    "adapters_runtime.configs": (
        "ADAPTER_CONFIG_MAP",
        "ADAPTERFUSION_CONFIG_MAP",
        "DEFAULT_ADAPTER_CONFIG",
        "DEFAULT_ADAPTERFUSION_CONFIG",
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
        "LoRAConfig",
        "LoReftConfig",
        "MAMConfig",
        "MTLLoRAConfig",
        "NoReftConfig",
        "ParBnConfig",
        "PrefixTuningConfig",
        "PromptTuningConfig",
        "ReftConfig",
        "SeqBnConfig",
        "SeqBnInvConfig",
        "StaticAdapterFusionConfig",
        "UniPELTConfig",
        "VeraConfig",
        "get_adapter_config_hash",
    ),
    "adapters_runtime.context": ("AdapterSetup",),
    "adapters_runtime.distillation": ("distill",),
    "adapters_runtime.heads.auto": ("ADAPTER_MODEL_MAPPING", "AutoAdapterModel"),
    "adapters_runtime.heads.base": ("PredictionHead",),
    "adapters_runtime.identity": ("BaseIdentity", "base_identity"),
    "adapters_runtime.interface": ("AdapterModelInterface",),
    "adapters_runtime.io.setup_folder": ("load_setup", "swap_slot"),
    "adapters_runtime.loading": ("load_model",),
    "adapters_runtime.model": ("init",),
    "adapters_runtime.publishing": ("PublishedAdapter", "get_adapter_info", "list_adapters"),
    "adapters_runtime.training": (
        "AdapterArguments",
        "AdapterTrainer",
        "AdapterTrainerCallback",
        "Seq2SeqAdapterTrainer",
        "setup_adapter_training",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605  (derived, so that it cannot drift)


def __getattr__(name: str) -> Any:
    """Import a name from its home; names of older releases, and classes by architecture, too.

    `BertAdapterModel` and its like exist once somebody asks for them.
    """
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if (replacement := import_module("adapters_runtime.configs").replacement_for(name)) is not None:
        return getattr(import_module("adapters_runtime.configs"), replacement)
    if name.endswith(("AdapterModel", "ModelWithHeads")):
        found = import_module("adapters_runtime.heads.auto").class_by_name(name)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
