"""Names of tensors in AdapterHub's files: old spellings, the base's prefix, the adapter's name."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from adapters_runtime.architectures import Architecture
from adapters_runtime.errors import FormatError
from adapters_runtime.shapes import originals

CONTAINERS = (
    "adapters",
    "invertible_adapters",
    "loras",
    "own_biases",
    "own_modules",
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


def normalise(
    tensors: Mapping[str, Tensor], architecture: Architecture, saved_name: str, name: str
) -> dict[str, Tensor]:
    """Return the tensors under today's names, relative to the base, for an adapter `name`.

    Raises FormatError when two that should be one tensor differ.
    """
    found = {relative(_respelled(key), architecture): tensor for key, tensor in tensors.items()}
    copies = originals(found)
    for key, original in copies.items():
        if not torch.equal(found[original], found[key]):
            raise FormatError(
                f"{key} and {original} are two names of one tensor, and hold different values"
            )
    return {
        _renamed(key, saved_name, name): tensor
        for key, tensor in found.items()
        if key not in copies
    }


def _respelled(key: str) -> str:
    for old, new in OLD_SPELLINGS.items():
        key = key.replace(f"{old}.", f"{new}.")
    return key


def relative(key: str, architecture: Architecture) -> str:
    # A model without a head is its own base, and its files have no prefix.
    return key.removeprefix(f"{architecture.base_prefix}.")


def _renamed(key: str, saved_name: str, name: str) -> str:
    pattern = rf"(^|\.)({'|'.join(CONTAINERS)})\.{re.escape(saved_name)}\."
    return re.sub(pattern, lambda match: f"{match[1]}{match[2]}.{name}.", key, count=1)
