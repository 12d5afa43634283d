"""The one vector that stands for a sequence, as each kind of model forms it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from adapters_runtime.architectures import Architecture

Inputs = Mapping[str, Any]
"""What the base model was given, by the names of its arguments."""


def summarise(
    architecture: Architecture, config: Any, outputs: Mapping[str, Any], inputs: Inputs
) -> Tensor:
    """Return (batch, width) of the base's last hidden state, (batch, length, width).

    Encoders put it in the first token, or their pooler takes the mean (BEiT); decoders in the last
    one that is not padding, since only that one has seen the whole sequence; encoder-decoders where
    the sequence ends. Where the decoder's input has no end, mBART takes its first position, and in
    T5 each stands for itself: the result is (batch, length, width).
    """
    hidden: Tensor = outputs["last_hidden_state"]
    roles = {stack.role for stack in architecture.stacks}
    if architecture.summary == "pooled":
        return outputs["pooler_output"]  # type: ignore[no-any-return]
    if roles == {"encoder"}:
        return hidden[:, 0]
    if roles == {"decoder"}:
        return _at(hidden, _last_token(config, hidden, inputs))
    end = _end(config, hidden, inputs)
    if end is None and architecture.summary == "end_or_everywhere":
        return hidden
    if end is None and architecture.summary == "end_or_first":
        return hidden[:, 0]
    return hidden[:, -1] if end is None else _at(hidden, end)


def _at(hidden: Tensor, position: Tensor) -> Tensor:
    """Take one position of each row; a batch that was repeated has its positions repeated."""
    position = position.repeat(len(hidden) // len(position))
    return hidden[torch.arange(len(hidden), device=hidden.device), position % hidden.shape[1]]


def _last_token(config: Any, hidden: Tensor, inputs: Inputs) -> Tensor:
    padding = getattr(config, "pad_token_id", None)
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if ids is not None and padding is not None:
        return _last(ids != padding)
    # Embeddings do not show which of them are padding.
    if mask is not None and mask.dim() == 2 and mask.shape[1] == hidden.shape[1]:
        return _last(mask != 0)
    return torch.full((len(hidden),), -1, device=hidden.device)


def _end(config: Any, hidden: Tensor, inputs: Inputs) -> Tensor | None:
    """Return where each row ends, or None when no row says so.

    A decoder's input as long as the encoder's is a copy of it, moved by one: the end is where the
    encoder's text has its last end token. Any other input has an end token of its own, which may
    also be the first of all, where it only starts the decoder.
    """
    end, length = getattr(config, "eos_token_id", None), hidden.shape[1]
    read, written = inputs.get("input_ids"), inputs.get("decoder_input_ids")
    if read is not None and read.shape[1] == length and (read == end).any():
        return _last(read == end)
    if written is None or not (written[:, 1:] == end).any():
        return None
    return _last(written == end)


def _last(marked: Tensor) -> Tensor:
    """Return the last marked position of each row of (batch, length); -1 where there is none."""
    position = torch.arange(marked.shape[1], device=marked.device)
    return torch.where(marked, position, -1).max(dim=-1).values
