"""AdapterFusion of bottlenecks of one form, with all that is linear multiplied out beforehand.

With a_i = U_i l_i + d_i and l_i = f(D_i x + c_i), `adapters_runtime.methods.fusion` computes

    s_i = l_i · (U_iᵀ Kᵀ Q) q + d_i · (Kᵀ Q) q + what all i have in common
    y   = r + sum over i of p_i (V U_i l_i + V d_i),   p = softmax(s / T)

So neither an adapter's output nor a query, key or value is ever made: what is left are products
with matrices as narrow as the bottlenecks. It is exact but for rounding. The products of matrices
are good for as long as no weight changes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from adapters_runtime.methods.fusion import AdapterFusion, Fused


class FoldedFusion(NamedTuple):
    """Of n bottlenecks to k features each, in a stream of `width`."""

    down: Tensor
    """D of all, (n · k, width)."""
    down_bias: Tensor
    """c of all, (n · k)."""
    ask: Tensor
    """Uᵀ Kᵀ Q of all, and below them d Kᵀ Q, (n · k + n, width)."""
    ask_bias: Tensor
    """(n · k + n)."""
    up: Tensor
    """V U of all, (n · k, width)."""
    up_bias: Tensor
    """V d of all, (n, width)."""
    of_residual: Tensor
    """V where it is applied to the residual too, (width, width); else empty."""

    @classmethod
    def of(
        cls, fusion: AdapterFusion, down: Tensor, down_bias: Tensor, up: Tensor, up_bias: Tensor
    ) -> "FoldedFusion":
        """Fold the matrices of n bottlenecks, each tensor (n, in, out) as `matrices` gives them."""
        dtype = up.dtype
        # Products of matrices that are to stand for many are not made in half precision.
        up, up_bias = (part.float() if dtype.itemsize < 4 else part for part in (up, up_bias))
        ups = torch.cat([up.flatten(0, 1), up_bias.flatten(0, 1)])  # (n · k + n, width)
        ask, ask_bias = _asked(fusion, ups)
        value = ups.new_empty(0) if fusion.value is None else fusion.value.weight.to(ups.dtype)
        out = ups if fusion.value is None else ups @ value.t()
        parts = (
            down.transpose(1, 2).flatten(0, 1),
            down_bias.flatten(),
            ask,
            ask_bias,
            *out.split([len(ups) - len(up), len(up)]),
            value if fusion.config.residual_before else ups.new_empty(0),
        )
        return cls(*(part.to(dtype).contiguous() for part in parts))

    def __call__(
        self, activation: Callable[[Tensor], Tensor], x: Tensor, query: Tensor, residual: Tensor
    ) -> Fused:
        """All are (batch, length, width)."""
        count = len(self.up_bias)
        low = activation(F.linear(x, self.down, self.down_bias))
        asked = F.linear(query, self.ask, self.ask_bias)
        pulled, scores = asked.split([low.shape[-1], count], dim=-1)
        scores = scores + (low * pulled).unflatten(-1, (count, -1)).sum(dim=-1)
        attention = torch.softmax(scores, dim=-1)
        weighted = low.unflatten(-1, (count, -1)) * attention.unsqueeze(-1)
        if len(self.of_residual):
            residual = F.linear(residual, self.of_residual)
        mixture = torch.addmm(residual.flatten(0, 1), weighted.flatten(2).flatten(0, 1), self.up)
        mixture = torch.addmm(mixture, attention.flatten(0, 1), self.up_bias)
        return Fused(mixture.view_as(residual), attention)


def _asked(fusion: AdapterFusion, ups: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the query's input is multiplied with to be compared with each row of `ups`."""
    ask = ups if fusion.key is None else ups @ fusion.key.weight.to(ups.dtype).t()
    bias = ups.new_zeros(len(ups))
    if fusion.query is not None:
        bias = ask @ fusion.query.bias.to(ups.dtype)
        ask = ask @ fusion.query.weight.to(ups.dtype)
    if fusion.config.temperature:
        return ask / fusion.temperature, bias / fusion.temperature
    return ask, bias
