"""NICE: an invertible adapter made of two additive couplings.

    (a, b) = split(x);   a' = a + F(b);   b' = b + G(a');   y = [a', b']

Source: Dinh et al. 2015, https://arxiv.org/abs/1410.8516, section 3.2; in language adapters:
Pfeiffer et al. 2020 (MAD-X), https://arxiv.org/abs/2005.00052. The inverse subtracts in the
opposite order and is exact up to rounding.
"""

import torch
from torch import Tensor

from adapters_runtime.methods.base import StreamMethod
from adapters_runtime.methods.coupling import coupling


class NICE(StreamMethod):
    """Couplings F: (width - width // 2) -> (width // 2), and G the other way round."""

    def __init__(self, width: int, reduction_factor: float, non_linearity: str) -> None:
        super().__init__()
        self.split = width // 2
        rest = width - self.split
        self.F = coupling(rest, self.split, reduction_factor, non_linearity)
        self.G = coupling(self.split, rest, reduction_factor, non_linearity)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[..., : self.split], x[..., self.split :]
        a = a + self.F(b)
        b = b + self.G(a)
        return torch.cat((a, b), dim=-1)

    def inverse(self, y: Tensor) -> Tensor:
        a, b = y[..., : self.split], y[..., self.split :]
        b = b - self.G(a)
        a = a - self.F(b)
        return torch.cat((a, b), dim=-1)
