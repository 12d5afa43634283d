"""GLOW: an invertible adapter made of two affine couplings.

    (a, b) = split(x);   a' = e(s) ⊙ a + t,   [s, t] = S2(b)
                         b' = e(u) ⊙ b + v,   [u, v] = S1(a')

Sources: Kingma and Dhariwal 2018, https://arxiv.org/abs/1807.03039, section 3.3 (the couplings
only). e(s) = exp(c · 0.636 · atan(s / c)), with c = 5, keeps every factor between exp(-c) and
exp(c): Ardizzone et al. 2019, https://arxiv.org/abs/1907.02392, appendix.
"""

import torch
from torch import Tensor

from adapters_runtime.methods.base import StreamMethod
from adapters_runtime.methods.coupling import coupling

CLAMP = 5.0


class GLOW(StreamMethod):
    """`s1`: (width // 2) -> 2 · rest, and `s2`: rest -> 2 · (width // 2)."""

    def __init__(self, width: int, reduction_factor: float, non_linearity: str) -> None:
        super().__init__()
        self.split = width // 2
        rest = width - self.split
        self.s1 = coupling(self.split, 2 * rest, reduction_factor, non_linearity)
        self.s2 = coupling(rest, 2 * self.split, reduction_factor, non_linearity)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[..., : self.split], x[..., self.split :]
        log_scale, shift = _halves(self.s2(b))
        a = torch.exp(log_scale) * a + shift
        log_scale, shift = _halves(self.s1(a))
        b = torch.exp(log_scale) * b + shift
        return torch.cat((a, b), dim=-1)

    def inverse(self, y: Tensor) -> Tensor:
        a, b = y[..., : self.split], y[..., self.split :]
        log_scale, shift = _halves(self.s1(a))
        b = (b - shift) * torch.exp(-log_scale)
        log_scale, shift = _halves(self.s2(b))
        a = (a - shift) * torch.exp(-log_scale)
        return torch.cat((a, b), dim=-1)


def _halves(output: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithm of the scale, which is bounded, and the shift."""
    scale, shift = output.chunk(2, dim=-1)
    return CLAMP * 0.636 * torch.atan(scale / CLAMP), shift
