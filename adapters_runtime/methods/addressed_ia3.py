"""(IA)³ of one whole module: rescale its output, or what enters it.

    y = l ⊙ (x Wᵀ + b)    or    y = (l ⊙ x) Wᵀ + b

Source: Liu et al. 2022, https://arxiv.org/abs/2205.05638, section 3.3: keys and values are rescaled
after their projection, the feed-forward block's inner activations before the last one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.methods.base import Host, LinearMethod


class RescaledOutput(LinearMethod):
    """`factors` (out), starting at one."""

    adds = False

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(weight.shape[0]))

    def adapt(self, x: Tensor, y: Tensor, host: Host) -> Tensor:
        return y * self.factors

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        factors = self.factors.to(weight.dtype)
        return weight * factors[:, None], None if bias is None else bias * factors

    def rescaling(self) -> Tensor | None:
        return self.factors


class RescaledInput(LinearMethod):
    """`factors` (in), starting at one."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(weight.shape[1]))

    def adapt(self, x: Tensor, y: Tensor, host: Host) -> Tensor:
        # The difference, so that what other adapters have added to y stays.
        return y + F.linear(x * (self.factors - 1), host.weight())

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight * self.factors.to(weight.dtype), bias
