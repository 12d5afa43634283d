"""(IA)³: rescale each feature of a frozen linear map's output.

    y = l ⊙ (x Wᵀ + b)

Source: Liu et al. 2022, https://arxiv.org/abs/2205.05638, section 3.3. The factors start at one.
The one parameter keeps the name `lora_B` and the shape (out, 1) of AdapterHub's files. As there,
with `use_gating` a gate stands in the place of alpha: y = g · l ⊙ (x Wᵀ + b).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adapters_runtime.configs import LoRAConfig
from adapters_runtime.errors import MergeStateError
from adapters_runtime.methods.base import Host, LinearMethod
from adapters_runtime.methods.gate import Gate


class IA3(LinearMethod):
    """One factor per output feature, over all parts."""

    adds = False

    def __init__(self, in_features: int, widths: Sequence[int], config: LoRAConfig) -> None:
        super().__init__()
        self.scaling = config.alpha
        self.lora_B = nn.Parameter(torch.ones(sum(widths), 1))
        self.gate = Gate(in_features, widths) if config.use_gating else None

    def adapt(self, x: Tensor, y: Tensor, host: Host) -> Tensor:
        if self.gate is not None:
            return y * self.lora_B.view(-1) * self.gate.spread(x)
        return y * self.factor()

    def adapt_in_place(self, x: Tensor, parts: Sequence[Tensor]) -> bool:
        factor = self.factor()
        if self.gate is not None or parts[0].dtype != factor.dtype:
            return False
        widths = [part.shape[-1] for part in parts]
        for part, own in zip(parts, factor.split(widths), strict=True):
            part.mul_(own)
        return True

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.gate is not None:
            raise MergeStateError("a gated adapter depends on its input and cannot be merged")
        # The factor stands outside the whole sum, so the bias is scaled as well.
        factor = self.factor().to(weight.dtype)
        return weight * factor[:, None], None if bias is None else bias * factor

    def rescaling(self) -> Tensor | None:
        return self.factor() if self.gate is None else None

    def gates(self, x: Tensor) -> Tensor | None:
        return None if self.gate is None else self.gate.values(x)

    def factor(self) -> Tensor:
        """Return the factors, (out,)."""
        factor = self.lora_B.view(-1)
        return factor if self.scaling == 1.0 else factor * self.scaling
