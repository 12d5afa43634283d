"""Names of tensors in AdapterHub's files: old spellings, the base's prefix, the adapter's name."""

import re
from collections.abc import Mapping

from torch import Tensor

from adapters_runtime.architectures import Architecture

CONTAINERS = (
    "adapters",
    "invertible_adapters",
    "loras",
    "embedding_rows",
    "shared_parameters",
    "prefix_tunings",
    "prefix_gates",
    "prompt_tunings",
    "refts",
)
"""Dictionaries of adapters in AdapterHub's modules: the name follows one of these."""

OLD_SPELLINGS = {
    "attention_text_task_adapters": "adapters",
    "attention_text_lang_adapters": "adapters",
    "layer_text_task_adapters": "adapters",
    "layer_text_lang_adapters": "adapters",
    "invertible_lang_adapters": "invertible_adapters",
}


DUPLICATE = ".adapter_norm_before."
"""AdapterHub writes a bottleneck's own norm twice; it is also the first module of adapter_down."""


def normalise(
    tensors: Mapping[str, Tensor], architecture: Architecture, saved_name: str, name: str
) -> dict[str, Tensor]:
    """Return the tensors under today's names, relative to the base, for an adapter `name`."""
    return {
        _renamed(_relative(_respelled(key), architecture), saved_name, name): tensor
        for key, tensor in tensors.items()
        if DUPLICATE not in key
    }


def _respelled(key: str) -> str:
    for old, new in OLD_SPELLINGS.items():
        key = key.replace(f"{old}.", f"{new}.")
    return key


def _relative(key: str, architecture: Architecture) -> str:
    # A model without a head is its own base, and its files have no prefix.
    return key.removeprefix(f"{architecture.base_prefix}.")


def _renamed(key: str, saved_name: str, name: str) -> str:
    pattern = rf"(^|\.)({'|'.join(CONTAINERS)})\.{re.escape(saved_name)}\."
    return re.sub(pattern, lambda match: f"{match[1]}{match[2]}.{name}.", key, count=1)
