"""Prefixes in GPT-J's attention, which rotates keys and hands them to a method of its own."""

from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.inject.attention import widened
from adapters_runtime.inject.point import Attachment, Hook, Mark, Outside
from adapters_runtime.inject.prefix_point import CaptureHidden, PrefixPoint

METHOD = "_attn"


def enter_by_wrapping(point: PrefixPoint, attention: nn.Module) -> list[Attachment]:
    """Return what lets prefixes into an attention with a method `_attn`."""
    host = Outside(attention)
    return [
        Mark(host, METHOD, WrappedAttention(point, attention)),
        Hook(host, CaptureHidden(point), pre=True),
    ]


class WrappedAttention:
    """Stands before the method `_attn` of one module."""

    def __init__(self, point: PrefixPoint, attention: nn.Module) -> None:
        self.point = Outside(point)
        self.attention = Outside(attention)

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
    ) -> Any:
        point, attention = self.point.module, self.attention.module
        assert isinstance(point, PrefixPoint)
        plain: Any = getattr(type(attention), METHOD)
        state = point.state_before(key)
        if state is None:
            return plain(attention, query, key, value, attention_mask)
        mask = widened(attention_mask, state, query, key.shape[2])
        key, value = torch.cat([state.keys, key], 2), torch.cat([state.values, value], 2)
        return plain(attention, query, key, value, mask)
