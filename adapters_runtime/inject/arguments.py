"""What a call of a module was given, by name."""

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.errors import InvalidComposition

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

CACHES = ("cache", "past_key_values")
"""What transformers calls a cache: since 5.24, and before."""


class Names:
    """The names of a module's parameters, for arguments given by position."""

    def __init__(self, module: nn.Module) -> None:
        self.names = tuple(signature(module.forward).parameters)

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return all arguments of a call by name."""
        return {**dict(zip(self.names, args, strict=False)), **kwargs}


def cache_of(given: dict[str, Any]) -> Any:
    """Return the cache that a call was given, or None."""
    caches = (given.get(name) for name in CACHES)
    return next((cache for cache in caches if cache is not None), None)


def text_of(given: dict[str, Any]) -> Tensor | None:
    """Return token ids (rows, tokens), or embeddings (rows, tokens, width); None for images."""
    ids: Tensor | None = given.get("input_ids")
    return given.get("inputs_embeds") if ids is None else ids


def mask_of(mask: Tensor | None, inputs: Tensor) -> Tensor:
    if mask is None:
        return torch.ones(inputs.shape[:2], dtype=torch.long, device=inputs.device)
    if mask.dim() != 2:
        raise InvalidComposition(
            f"prompt tuning needs an attention mask of (rows, tokens), not of {list(mask.shape)}"
        )
    return mask
