"""Prefixes through transformers' attention interface.

Models look up the function that computes attention by a name in their configuration. Ours stand in
that table beside the ones they extend, `adapters_sdpa` beside `sdpa`. While a model has prefixes
its configuration names ours; where no prefix is active they compute what the plain ones do.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from adapters_runtime.errors import UnsupportedAttention
from adapters_runtime.inject.arguments import cache_of
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.point import Attachment, Hook, Mark, Outside
from adapters_runtime.inject.prefix_point import CaptureHidden, PrefixPoint, PrefixState

OURS = "adapters_"
PLAIN = ("eager", "sdpa")
"""Implementations that prefixes can enter. Flash and flex attention take no mask of ours."""

ATTRIBUTE = "adapter_prefixes"
"""Set on an attention with prefixes, for the attention function to find them."""

Attended = tuple[Tensor, Tensor | None]
Widen = Callable[[Tensor, PrefixState], Tensor]
"""Gives a position bias, (1, heads, queries, keys), for the keys of prefixes as well."""


def enter_by_interface(point: PrefixPoint, attention: nn.Module, bias: Widen) -> list[Attachment]:
    """Return what lets prefixes into an attention; `bias` widens its position bias, if any."""
    host = Outside(attention)
    entrance = Entrance(point, eager_function(attention), bias)
    counts = [Hook(host, CountSeen(bias), pre=True)] if isinstance(bias, RecomputeBias) else []
    return [Mark(host, ATTRIBUTE, entrance), Hook(host, EnterAttention(point), pre=True), *counts]


class Entrance:
    """What the attention function needs to know of one attention."""

    def __init__(
        self,
        point: PrefixPoint,
        eager: Callable[..., Attended] | None,
        bias: Widen,
    ) -> None:
        self.point = Outside(point)
        self.eager = eager
        self.bias = bias

    def state_before(self, key: Tensor) -> PrefixState | None:
        point = self.point.module
        assert isinstance(point, PrefixPoint)
        return point.state_before(key)


class EnterAttention(CaptureHidden):
    """Pre-hook on the attention; sees to it that ours is the function that it will call."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__call__(module, args, kwargs)
        # `set_attn_implementation`, or another model that shares the configuration and lost its
        # last prefix, may have changed the name. Prefixes would be ignored without a word.
        config: Any = module.config
        if not config._attn_implementation.startswith(OURS):  # noqa: SLF001  (has no public name)
            config._attn_implementation = ours(config._attn_implementation)  # noqa: SLF001


# --- which implementation a model uses


def ours(implementation: str | None) -> str:
    """Return the name of our function for a plain one; raises UnsupportedAttention."""
    plain = implementation or "eager"
    if plain.startswith(OURS):
        return plain
    if plain not in PLAIN:
        raise UnsupportedAttention(plain, PLAIN)
    return OURS + plain


class UseOurs:
    """Makes a model use our functions for as long as it has prefixes."""

    def __init__(self, base: nn.Module) -> None:
        self.module = Outside(base)

    def register(self) -> "UseOurs":
        base = self.module.module
        _check(base)
        for config in configs_of(base):
            config._attn_implementation = ours(config._attn_implementation)  # noqa: SLF001
        return self

    def remove(self) -> None:
        for config in configs_of(self.module.module):
            config._attn_implementation = config._attn_implementation.removeprefix(OURS)  # noqa: SLF001


def _check(base: nn.Module) -> None:
    """Raise UnsupportedAttention unless prefixes can enter all attentions of a model."""
    for config in configs_of(base):
        plain = ours(config._attn_implementation).removeprefix(OURS)  # noqa: SLF001
        # GPT-2 computes this by itself, and only if the name is "eager".
        if plain == "eager" and getattr(config, "reorder_and_upcast_attn", False):
            raise UnsupportedAttention("eager with reorder_and_upcast_attn", ("sdpa",))


def configs_of(base: nn.Module) -> Iterator[Any]:
    """Yield the configurations of a model and of its parts (T5's stacks have their own copies)."""
    found = {id(config): config for m in base.modules() if (config := getattr(m, "config", None))}
    return (config for config in found.values() if hasattr(config, "_attn_implementation"))


# --- the functions


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    plain: str,
    **kwargs: Any,
) -> Attended:
    """Compute attention by the plain function, over the active prefixes and the tokens."""
    entrance = module.__dict__.get(ATTRIBUTE)
    state = None if entrance is None else entrance.state_before(key)
    function = _function(module, entrance, plain)
    if entrance is None or state is None:
        return function(module, query, key, value, attention_mask, **kwargs)
    if plain == "sdpa" and attention_mask is None and _is_causal(module, query, kwargs):
        # sdpa means by this that position i attends to the first i + 1 keys; later ones are empty
        # places of a static cache.
        key, value = key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]
        attention_mask = _causal_mask(query.shape[2], query.device)
        if kwargs.get("position_bias") is not None:
            kwargs["position_bias"] = kwargs["position_bias"][..., : query.shape[2]]
    if plain == "sdpa":
        kwargs["is_causal"] = False
    if kwargs.get("position_bias") is not None:
        kwargs["position_bias"] = entrance.bias(kwargs["position_bias"], state)
    mask = widened(attention_mask, state, query, key.shape[2])
    key, value = torch.cat([state.keys, key], 2), torch.cat([state.values, value], 2)
    return function(module, query, key, value, mask, **kwargs)


def _function(module: nn.Module, entrance: Entrance | None, plain: str) -> Callable[..., Attended]:
    if plain != "eager":
        return ALL_ATTENTION_FUNCTIONS[plain]  # type: ignore[no-any-return]
    function = eager_function(module) if entrance is None else entrance.eager
    assert function is not None
    return function


def eager_function(attention: nn.Module) -> Callable[..., Attended] | None:
    """Return the eager function that the file of an attention's class defines."""
    for cls in type(attention).__mro__:
        function = getattr(sys.modules[cls.__module__], "eager_attention_forward", None)
        if function is not None:
            return function  # type: ignore[no-any-return]
    return None


def _is_causal(module: nn.Module, query: Tensor, kwargs: dict[str, Any]) -> bool:
    """Say what sdpa would, given no mask."""
    given = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if given is None else given
    return bool(causal) and query.shape[2] > 1


def _causal_mask(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


def widened(mask: Tensor | None, state: PrefixState, query: Tensor, tokens: int) -> Tensor | None:
    """Put the prefixes' columns before a mask: True for visible, or 0 where masks are added."""
    visible = state.visible
    if mask is None:
        if visible is None:
            return None
        mask = torch.zeros(1, 1, 1, tokens, dtype=query.dtype, device=query.device)
    if visible is None:
        visible = torch.ones(1, state.length, dtype=torch.bool, device=mask.device)
    columns = visible[:, None, None, :]
    if mask.dtype != torch.bool:
        hidden = torch.finfo(mask.dtype).min
        columns = torch.zeros_like(columns, dtype=mask.dtype).masked_fill(~columns, hidden)
    rows = max(mask.shape[0], columns.shape[0])
    return torch.cat(
        [
            columns.expand(rows, mask.shape[1], mask.shape[2], -1),
            mask.expand(rows, -1, -1, -1),
        ],
        dim=-1,
    )


# --- position bias


class PadBias:
    """Prefixes stand nowhere: they get no bias."""

    def __call__(self, bias: Tensor, state: PrefixState) -> Tensor:
        return F.pad(bias, (state.length, 0))


class RecomputeBias:
    """T5's bias, a function of how far a key is from a query, over prefixes and tokens.

    PEFT's prefixes come before the text, whose tokens see each other as ever. With AdapterHub's it
    is computed as if they began the text, but queries did not, and adapters are trained with it: a
    query sees itself as many tokens to the right as prefixes are unplaced.
    """

    def __init__(self, attention: nn.Module) -> None:
        """`attention` is the one whose table of biases all layers of its stack use."""
        self.attention = Outside(attention)
        self.seen = Cell()
        """How many tokens came before the queries; where there is no cache, none."""

    def __call__(self, bias: Tensor, state: PrefixState) -> Tensor:
        seen = self.seen.take()
        first = 0 if seen is None else seen
        before, length = self._before(bias, state.length, first), state.length + bias.shape[-1]
        if isinstance(state.unplaced, int):
            after = self._after(bias, state.unplaced, first)
            return torch.cat([before[..., state.unplaced :], bias, after], dim=-1)
        distances = torch.cat([before, bias, self._after(bias, state.length, first)], dim=-1)
        columns = torch.arange(length, device=bias.device) + state.unplaced[:, None]
        by_row = distances.expand(len(columns), -1, -1, -1)
        return by_row.gather(-1, columns[:, None, None].expand(*by_row.shape[:-1], -1))

    def _before(self, bias: Tensor, length: int, seen: int | Tensor) -> Tensor:
        """Return the bias of keys before the first of the text."""
        return self._of(bias, bias.shape[-1] + length, seen + length)[..., :length]

    def _after(self, bias: Tensor, length: int, seen: int | Tensor) -> Tensor:
        """Return the bias of keys after the last; in a decoder all of them lie ahead."""
        return self._of(bias, bias.shape[-1] + length, seen)[..., bias.shape[-1] :]

    def _of(self, bias: Tensor, keys: int, seen: int | Tensor) -> Tensor:
        computed: Tensor = self.attention.module.compute_bias(  # type: ignore[operator]
            bias.shape[-2], keys, device=bias.device, past_seen_tokens=seen
        )
        return computed.to(bias.dtype)


class CountSeen:
    """Pre-hook on an attention: a static cache has more keys than there are tokens before it."""

    def __init__(self, bias: RecomputeBias) -> None:
        self.bias = bias

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cache = cache_of(kwargs)
        seen = None if cache is None else cache.get_seq_length(module.layer_idx)
        # The attention goes on to count its own tokens in the same tensor.
        self.bias.seen.put(seen.clone() if isinstance(seen, Tensor) else seen)


for _plain in PLAIN:
    ALL_ATTENTION_FUNCTIONS.register(OURS + _plain, partial(_attend, plain=_plain))
    ALL_MASK_ATTENTION_FUNCTIONS.register(OURS + _plain, ALL_MASK_ATTENTION_FUNCTIONS[_plain])
