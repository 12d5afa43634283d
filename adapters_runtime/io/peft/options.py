"""What a PEFT configuration asks for; options that we do not know are refused by their names.

PEFT ignores what it does not know, and loads something else than was saved.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters_runtime.errors import FormatError
from adapters_runtime.io.peft.starts import STARTS

METHODS = ("LORA", "IA3", "PREFIX_TUNING", "PROMPT_TUNING")

_BOOKKEEPING = frozenset(
    {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version"}
    | {"revision", "task_type", "megatron_core"}
)
_TARGETS = frozenset({"exclude_modules", "fan_in_fan_out", "modules_to_save", "target_modules"})
_SOFT_PROMPT = frozenset(
    {"modules_to_save", "num_attention_heads", "num_layers", "num_transformer_submodules"}
    | {"num_virtual_tokens", "token_dim"}
)
_KNOWN = {
    "LORA": _TARGETS
    | {"alpha_pattern", "bias", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_bias"}
    | {"lora_dropout", "r", "rank_pattern", "use_dora", "use_rslora"}
    | {"ensure_weight_tying", "trainable_token_indices"}
    # Of what the weights were when training began nothing is left; see _STARTS.
    | {"eva_config", "corda_config", "loftq_config", "lora_ga_config", "init_lora_weights"}
    | {"qalora_group_size", "runtime_config"},
    "IA3": _TARGETS | {"feedforward_modules", "init_ia3_weights"},
    # What an encoder of prefixes was like does not matter once it has been run.
    "PREFIX_TUNING": _SOFT_PROMPT | {"encoder_hidden_size", "prefix_projection"},
    "PROMPT_TUNING": _SOFT_PROMPT
    | {"prompt_tuning_init", "prompt_tuning_init_text", "prompt_tuning_init_state_dict_path"}
    | {"prompt_tuning_init_kwargs", "tokenizer_kwargs", "tokenizer_name_or_path"},
}
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal", *STARTS)
"""Ways to start a LoRA that leave the base's weights alone, or change them as we know."""


def check(document: Mapping[str, Any], source: Path) -> str:
    """Return the method in PEFT's word; FormatError when we cannot load what is asked for."""
    method = document["peft_type"]
    if method not in METHODS:
        raise FormatError(
            f"{source} holds an adapter of the PEFT method {method!r}; of PEFT's methods "
            f"{', '.join(METHODS)} can be loaded"
        )
    unknown = sorted(
        name
        for name, value in document.items()
        if name not in _KNOWN[method] | _BOOKKEEPING and value not in (None, False, [], {}, "")
    )
    if unknown:
        shown = ", ".join(f"{name}={document[name]!r}" for name in unknown)
        raise FormatError(
            f"{source} sets options of PEFT's {method} that cannot be loaded: {shown}"
        )
    if (start := document.get("init_lora_weights")) not in _STARTS:
        raise FormatError(
            f"{source} was trained with init_lora_weights={start!r}, which changes the base's "
            "weights; save it with PEFT's path_initial_model_for_weight_conversion"
        )
    if document.get("use_dora") and document.get("lora_bias"):
        raise FormatError(f"{source} sets use_dora and lora_bias, which exclude one another")
    return str(method)


def number(document: Mapping[str, Any], field: str, default: float) -> float:
    value = document.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormatError(f"{field} of a PEFT configuration must be a number, not {value!r}")
    return value


def names(document: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = document.get(field) or ()
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise FormatError(f"{field} of a PEFT configuration must be a list of names, not {value!r}")
    return tuple(value)
