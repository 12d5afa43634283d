"""Reading the documents of older releases of AdapterHub's library."""

from collections.abc import Mapping
from typing import Any

# In files of the first release these said how to train, or named a default that never changed.
_WITHOUT_EFFECT = frozenset({"attention_type", "new_attention_norm"})

# Before releases had numbers, "gelu" was the approximation by tanh.
_OLD_ACTIVATIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}

_INVERTIBLE = frozenset({"invertible_adapter", "inv_adapter", "inv_adapter_reduction_factor"})


def upgrade_bottleneck(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a bottleneck under the names they have today.

    The first release wrote some names in capitals (`MH_Adapter`, `LN_after`) and the invertible
    adapter as a document of its own.
    """
    fields: dict[str, Any] = {}
    for name, value in data.items():
        if name in _WITHOUT_EFFECT:
            continue
        old_case = name.lower() if name in _IN_CAPITALS else name
        fields[old_case] = value
    nested = fields.pop("invertible_adapter", None)
    if isinstance(nested, Mapping):
        fields["inv_adapter"] = nested.get("block_type")
        fields["inv_adapter_reduction_factor"] = nested.get("reduction_factor")
    return fields


_IN_CAPITALS = frozenset({"MH_Adapter", "Output_Adapter", "LN_before", "LN_after"})


def upgrade_document(document: Mapping[str, Any]) -> Any:
    """Return `config` of a whole adapter_config.json, with what its age implies put right.

    Files without a version are from before AdapterHub's library of 2023: their activations had
    other names. While adapters had a `type`, those of tasks named an invertible part that they did
    not have. LoRAs saved before 1.1.0 were trained with a scaling of 1 whatever `alpha` says.
    """
    config = document.get("config")
    if not isinstance(config, Mapping):
        return config
    fields = dict(config)
    version = document.get("version")
    if not version:
        fields = _with_activation_of_today(fields)
    if document.get("type") == "text_task":
        fields = {name: value for name, value in fields.items() if name not in _INVERTIBLE}
    if _before_1_1(version) and fields.get("architecture") == "lora":
        fields["alpha"] = fields.get("r", fields.get("alpha"))
    return fields


def _with_activation_of_today(fields: dict[str, Any]) -> dict[str, Any]:
    activation = fields.get("non_linearity")
    if not isinstance(activation, str):
        return fields
    return {**fields, "non_linearity": _OLD_ACTIVATIONS.get(activation, activation)}


def _before_1_1(version: Any) -> bool:
    if not isinstance(version, str) or not version.startswith("adapters."):
        return False
    major, _, rest = version.removeprefix("adapters.").partition(".")
    minor = rest.partition(".")[0]
    return major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) < (1, 1)
