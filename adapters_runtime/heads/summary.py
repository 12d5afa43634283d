"""The one vector that stands for a sequence, as each kind of model forms it."""

from typing import Any

import torch
from torch import Tensor

from adapters_runtime.architectures import Architecture


def summarise(
    architecture: Architecture, config: Any, hidden: Tensor, input_ids: Tensor | None
) -> Tensor:
    """Return (batch, width) of hidden (batch, length, width).

    Encoders put it in the first token; decoders in the last one that is not padding, since only
    that one has seen the whole sequence; encoder-decoders in the last end-of-sequence token.
    """
    roles = {stack.role for stack in architecture.stacks}
    if roles == {"encoder"}:
        return hidden[:, 0]
    if roles == {"decoder"}:
        return _last_token(config, hidden, input_ids)
    return _end_token(config, hidden, input_ids)


def _last_token(config: Any, hidden: Tensor, input_ids: Tensor | None) -> Tensor:
    padding = getattr(config, "pad_token_id", None)
    if padding is None or input_ids is None:
        return hidden[:, -1]
    # The first padding token ends the text; without one the index is -1, the last token.
    last = (input_ids == padding).int().argmax(dim=-1) - 1
    return hidden[torch.arange(len(hidden), device=hidden.device), last % hidden.shape[1]]


def _end_token(config: Any, hidden: Tensor, input_ids: Tensor | None) -> Tensor:
    end = getattr(config, "eos_token_id", None)
    if end is None or input_ids is None:
        return hidden[:, -1]
    is_end = input_ids == end
    # The position of the last end token; a row without one falls back to its last position.
    position = torch.arange(hidden.shape[1], device=hidden.device)
    last = torch.where(is_end, position, -1).max(dim=-1).values
    return hidden[torch.arange(len(hidden), device=hidden.device), last % hidden.shape[1]]
