"""(IA)³: rescale each feature of a frozen linear map's output.

    y = l ⊙ (x Wᵀ + b)

Source: Liu et al. 2022, https://arxiv.org/abs/2205.05638, section 3.3. The factors start at one.
The one parameter keeps the name `lora_B` and the shape (out, 1) of AdapterHub's files.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adapters_runtime.configs import LoRAConfig
from adapters_runtime.methods.base import LinearMethod


class IA3(LinearMethod):
    """One factor per output feature, over all parts."""

    def __init__(self, in_features: int, widths: Sequence[int], config: LoRAConfig) -> None:
        super().__init__()
        self.scaling = config.alpha
        self.lora_B = nn.Parameter(torch.ones(sum(widths), 1))

    def adapt(self, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return y * self.factor()

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # The factor stands outside the whole sum, so the bias is scaled as well.
        factor = self.factor().to(weight.dtype)
        return weight * factor[:, None], None if bias is None else bias * factor

    def factor(self) -> Tensor:
        """Return the factors, (out,)."""
        return self.lora_B.view(-1) * self.scaling
