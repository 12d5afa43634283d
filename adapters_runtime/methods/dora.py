"""DoRA: the length of each row of a weight is learned apart from its direction.

    y = m / ‖W + ΔW‖ ⊙ (x (W + (alpha / r) ΔW)ᵀ + b),   ‖·‖ the norm of each row

Source: Liu et al. 2024, https://arxiv.org/abs/2402.09353, section 4 (with ΔW a VeRA: DVoRA, section
5.5). m starts at ‖W‖, so that a fresh adapter changes nothing. As section 4.3 proposes, the norm
counts as a constant for gradients. AdapterHub's library scales the bias too, and leaves alpha / r
out of the norm; the paper does neither, but weights exist that were trained so.
"""

import torch
from torch import Tensor, nn

from adapters_runtime.methods.base import Rescaling


class Magnitude(Rescaling):
    """`weight` (out, 1), as AdapterHub's files keep m."""

    def __init__(self, weight: Tensor) -> None:
        """Start from the frozen weight, (out, in)."""
        super().__init__()
        norm = torch.linalg.vector_norm(weight.detach(), dim=1, keepdim=True)
        self.weight = nn.Parameter(norm.clone())

    def factor(self, weight: Tensor, delta: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm((weight + delta).detach(), dim=1)
        return self.weight.view(-1) / norm
