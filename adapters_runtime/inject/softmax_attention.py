"""Prefixes in attentions that compute all by themselves: DeBERTa's, MPNet's, BLOOM's.

Softmax over the scores of prefixes and tokens is all that must be done in one piece:

    out = p_prefix V_prefix + p_tokens V_tokens,   [p_prefix, p_tokens] = softmax([s_prefix, s])

So the call of softmax is intercepted, and hands on the tokens' part; the prefixes' part is added to
what enters the output projection.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from adapters_runtime.architectures import Attention
from adapters_runtime.errors import UnsupportedAttention
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.paths import find
from adapters_runtime.inject.point import Attachment, Hook, Outside
from adapters_runtime.inject.prefix_point import CaptureHidden, PrefixPoint, PrefixState

ADDED_PRODUCTS = {torch.baddbmm, Tensor.baddbmm}
"""Of the second and third argument; the first is added to them."""
PRODUCTS = ADDED_PRODUCTS | {
    torch.matmul,
    torch.bmm,
    Tensor.matmul,
    Tensor.bmm,
    Tensor.__matmul__,
}
SOFTMAXES = {F.softmax, torch.softmax, Tensor.softmax}


def enter_by_softmax(
    point: PrefixPoint, attention: nn.Module, output: nn.Module, described: Attention
) -> list[Attachment]:
    """Return what lets prefixes into an attention whose output projection is `output`."""
    if getattr(attention, "talking_head", False):
        raise UnsupportedAttention("talking heads", ("attention whose heads are independent",))
    path = described.dropout
    dropout = nn.Identity() if path is None else find(attention, path)
    entrance = SoftmaxEntrance(point, dropout, scaled_query=described.scaled_query)
    host = Outside(attention)
    return [
        Hook(host, CaptureHidden(point), pre=True),
        Hook(host, StartIntercepting(entrance), pre=True),
        Hook(host, CheckIntercepted()),
        Hook(host, StopIntercepting(), always=True),
        Hook(Outside(output), AddPrefixes(entrance), pre=True),
    ]


class SoftmaxEntrance:
    """What the hooks of one attention share."""

    def __init__(self, point: PrefixPoint, dropout: nn.Module, *, scaled_query: bool) -> None:
        self.point = Outside(point)
        self.dropout = Outside(dropout)
        self.scaled_query = scaled_query
        self.added = Cell()
        """The prefixes' share of the attention's result, (rows, tokens, width)."""

    def attend(
        self, module: nn.Module, query: Tensor, scores: Tensor, dtype: torch.dtype | None
    ) -> Tensor:
        """Return the tokens' probabilities, and keep what the prefixes contribute.

        `query` is (rows, heads, tokens, head width), `scores` (rows, heads, tokens, tokens).
        """
        point = self.point.module
        assert isinstance(point, PrefixPoint)
        key_heads = point.widths.key // query.shape[-1]
        state = point.state_before(query[:, :key_heads])
        if state is None:
            return torch.softmax(scores, dim=-1, dtype=dtype)
        prefix_scores = self._scores(module, query, state).to(scores.dtype)
        both = torch.softmax(torch.cat([prefix_scores, scores], dim=-1), dim=-1, dtype=dtype)
        ours, tokens = both[..., : state.length], both[..., state.length :]
        dropped = self.dropout.module(ours).to(state.values.dtype)
        self.added.put((dropped @ _for_each_head(state.values, query)).transpose(1, 2).flatten(2))
        return tokens

    def _scores(self, module: nn.Module, query: Tensor, state: PrefixState) -> Tensor:
        scores = query @ _for_each_head(state.keys, query).transpose(-1, -2)
        if not self.scaled_query:
            scores = scores / math.sqrt(query.shape[-1] * _terms(module))
        if state.visible is not None:
            hidden = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~state.visible[:, None, None, :], hidden)
        return scores


def _for_each_head(states: Tensor, query: Tensor) -> Tensor:
    """Return keys or values, of which several heads may share each, for every head of queries."""
    return states.repeat_interleave(query.shape[1] // states.shape[1], dim=1)


def _terms(module: nn.Module) -> int:
    """Return how many terms a score has: DeBERTa adds position terms, and divides by all."""
    terms: Any = getattr(module, "pos_att_type", ())
    return 1 + ("c2p" in terms) + ("p2c" in terms)


class Interception(TorchFunctionMode):
    """Watches the functions of one attention's forward.

    The first product with as many numbers as there are scores is that of queries and keys.
    """

    def __init__(self, entrance: SoftmaxEntrance, module: nn.Module) -> None:
        super().__init__()
        self.entrance = entrance
        self.module = module
        self.queries: dict[int, Tensor] = {}
        """The first factor of the first product of each number of results."""
        self.done = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.done:
            return func(*args, **kwargs)
        if func in SOFTMAXES and (query := self.queries.get(args[0].numel())) is not None:
            self.done = True
            query = query.reshape(*args[0].shape[:3], -1)
            return self.entrance.attend(self.module, query, args[0], kwargs.get("dtype"))
        result = func(*args, **kwargs)
        if func in PRODUCTS:
            self.queries.setdefault(result.numel(), factors(func, args, kwargs)[0])
        return result


def factors(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return what a call of one of `PRODUCTS` multiplies."""
    given = args[1:] if func in ADDED_PRODUCTS else args
    named = [kwargs[name] for name in ("batch1", "mat2", "other", "batch2") if name in kwargs]
    first, second = (*given, *named)
    return first, second


_running = Cell()
"""The interception of the attention that runs in a thread; attentions do not run in each other."""


class StartIntercepting:
    """Pre-hook on the attention."""

    def __init__(self, entrance: SoftmaxEntrance) -> None:
        self.entrance = entrance

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stop_intercepting()  # Ctrl-C skips hooks, and leaves one running
        self.entrance.added.clear()  # as does a pass that failed before its output projection
        if self.entrance.point.module.active() is None:  # type: ignore[operator]
            return
        interception = Interception(self.entrance, module)
        _running.put(interception)
        interception.__enter__()  # type: ignore[no-untyped-call]


class CheckIntercepted:
    """Hook on the attention: prefixes that did not enter it must not be lost without a word."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        interception = _running.value
        if interception is not None and not interception.done:
            raise UnsupportedAttention("a fused kernel", ("eager",))


class StopIntercepting:
    """Hook on the attention; runs also when it raises, or the interception would go on."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        stop_intercepting()


def stop_intercepting() -> None:
    interception = _running.take()
    if interception is not None:
        interception.__exit__(None, None, None)


class AddPrefixes:
    """Pre-hook on the output projection."""

    def __init__(self, entrance: SoftmaxEntrance) -> None:
        self.entrance = entrance

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        added = self.entrance.added.take()
        return None if added is None else ((args[0] + added.to(args[0].dtype), *args[1:]), kwargs)
