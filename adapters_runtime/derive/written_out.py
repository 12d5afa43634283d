"""Attention that a model computes in lines of its own: products around a softmax."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from adapters_runtime.derive.linear_maps import is_linear
from adapters_runtime.inject.softmax_attention import PRODUCTS, SOFTMAXES, factors

TOLERANCE = 1e-9
MASKED = -1e4
"""Scores below belong to keys that a query must not see."""


class WrittenOut(NamedTuple):
    """What was computed between the queries and the output projection."""

    scores: Tensor
    """What the softmax reads, (rows, heads, queries, keys), or whatever shape it has there."""
    weights: Tensor
    mixed: Tensor
    """The weights times the values, (rows, heads, queries, head width)."""


class Product(NamedTuple):
    first: Tensor
    second: Tensor
    result: Tensor


Report = Callable[[nn.Module, Tensor, Tensor, Tensor, WrittenOut], None]


class Watch(TorchFunctionMode):
    """Watches the functions that a model calls, and reports each attention that they make up."""

    def __init__(self, running: Sequence[nn.Module], report: Report, rows: int) -> None:
        """`running` are the modules whose forward runs, the innermost last."""
        super().__init__()
        self.running = running
        self.report = report
        self.rows = rows
        self.elsewhere = False
        """Whether what runs now is reported by the attention interface."""
        self._products: dict[nn.Module, list[Product]] = {}
        self._weights: dict[nn.Module, tuple[Product, Tensor, Tensor]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        owner = None if self.elsewhere else self._owner()
        if owner is None:
            return result
        if func in SOFTMAXES:
            self._softmax(owner, args[0], result)
        elif func in PRODUCTS:
            self._product(owner, Product(*factors(func, args, kwargs or {}), result))
        return result

    def _owner(self) -> nn.Module | None:
        """Return the innermost running module with linear maps: an attention, when it attends."""
        for module in reversed(self.running):
            if any(map(is_linear, module.modules())):
                return module
        return None

    def _softmax(self, owner: nn.Module, scores: Tensor, weights: Tensor) -> None:
        # Queries and keys are multiplied first; what DeBERTa adds for positions comes after.
        for product in self._products.get(owner, ()):
            if product.result.numel() == scores.numel():
                self._weights[owner] = product, scores, weights
                return

    def _product(self, owner: nn.Module, product: Product) -> None:
        if owner not in self._weights:
            self._products.setdefault(owner, []).append(product)
            return
        first, scores, weights = self._weights[owner]
        if product.first.numel() != weights.numel() or not _alike(product.first, weights):
            return
        del self._weights[owner], self._products[owner]
        parts = (first.first, first.second.transpose(-1, -2), product.second)
        query, key, value = (self._by_heads(part) for part in parts)
        mixed = self._by_heads(product.result)
        written = WrittenOut(scores, self._by_heads(weights), mixed)
        self.report(owner, query, key, value, written)

    def _by_heads(self, tensor: Tensor) -> Tensor:
        """Return (rows, heads, ...) of (rows * heads, ...)."""
        if tensor.dim() == 3 and tensor.shape[0] % self.rows == 0:
            by_heads: Tensor = tensor.unflatten(0, (self.rows, -1))
            return by_heads
        return tensor


def _alike(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.flatten(), b.flatten().to(a.dtype), atol=TOLERANCE, rtol=TOLERANCE)


def scales_queries(
    query: Tensor, key: Tensor, scores: Tensor, others: tuple[Tensor, Tensor, Tensor]
) -> bool | None:
    """Return whether queries are scaled before they meet keys; None if scores are something else.

    `others` are the same three of another text. Masks and the bias of positions are those of both
    texts, so what changes in the scores is what changes in the products.
    """
    if scores.dim() != 4:
        return None
    seen = (scores > MASKED) & (others[2] > MASKED)
    change = (scores - others[2])[seen].double()
    products = (_product_of(query, key) - _product_of(*others[:2]))[seen].double()
    for scaled, factor in ((True, 1.0), (False, query.shape[-1] ** -0.5)):
        # Some models compute scores in float32, whatever they are in.
        if change.any() and torch.allclose(change, factor * products, atol=1e-4, rtol=1e-4):
            return scaled
    return None


def _product_of(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.repeat_interleave(query.shape[1] // key.shape[1], dim=1).transpose(-1, -2)
