"""LoRA: a low-rank update beside a frozen linear map.

    y = x Wᵀ + b + (alpha / r) · B A x

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1. A starts random and B at
zero, so a fresh adapter leaves the model's output unchanged.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import LoRAConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.methods.low_rank import LowRank


class LoRA(LowRank):
    """`lora_A` (r · parts, in) and `lora_B` (sum of part widths, r)."""

    def __init__(self, in_features: int, widths: Sequence[int], config: LoRAConfig) -> None:
        super().__init__(in_features, widths, config)
        self.lora_A = nn.Parameter(torch.empty(config.r * len(self.widths), in_features))
        self.lora_B = nn.Parameter(torch.empty(sum(self.widths), config.r))
        if config.init_weights == "bert":
            nn.init.normal_(self.lora_A, std=0.02)
            nn.init.normal_(self.lora_B, std=0.02)
        else:
            # The bound nn.Linear uses, so that A starts at the scale of any other projection.
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
            nn.init.zeros_(self.lora_B)

    def update(self, x: Tensor) -> Tensor:
        low = F.linear(x, self.lora_A)  # (..., r · parts)
        if len(self.widths) == 1:
            return F.linear(low, self.lora_B)
        parts = zip(low.split(self.rank, dim=-1), self.lora_B.split(self.widths), strict=True)
        return torch.cat([F.linear(part, rows) for part, rows in parts], dim=-1)

    def add_update(self, y: Tensor, x: Tensor) -> Tensor:
        if len(self.widths) > 1 or y.dim() < 2 or y.dtype != self.lora_B.dtype:
            return super().add_update(y, x)
        low = torch.mm(x.flatten(0, -2), self.lora_A.t())
        # The product is added where it is computed, which saves a pass over y.
        added = torch.addmm(y.flatten(0, -2), low, self.lora_B.t(), alpha=self.scaling)
        return added.view_as(y)

    def adapt_in_place(self, x: Tensor, parts: Sequence[Tensor]) -> bool:
        scaled = self.gate is not None or self.m is not None
        if scaled or x.dim() < 2 or parts[0].dtype != self.lora_B.dtype:
            return False
        low = torch.mm(self.dropout(x).flatten(0, -2), self.lora_A.t())
        rows = self.lora_B.split(self.widths)
        for part, seen, b in zip(parts, low.split(self.rank, dim=-1), rows, strict=True):
            part.view(-1, part.shape[-1]).addmm_(seen, b.t(), alpha=self.scaling)
        return True

    def down(self) -> Tensor:
        return self.lora_A

    def up(self) -> Tensor:
        if len(self.widths) == 1:
            return self.lora_B
        up: Tensor = torch.block_diag(*self.lora_B.split(self.widths))
        return up

    def delta(self) -> Tensor:
        return torch.cat([b @ a for a, b in self._parts()])

    @torch.no_grad()
    def assign(self, delta: Tensor) -> None:
        """Set A and B so that their products are as near to ΔW as their rank allows.

        ConfigError when a part of ΔW has fewer rows or columns than that.
        """
        for part, (a, b) in zip(delta.split(self.widths), self._parts(), strict=True):
            if self.rank > min(part.shape):
                raise ConfigError(
                    f"a map from {part.shape[1]} to {part.shape[0]} features has no update of rank "
                    f"{self.rank}; choose a smaller rank"
                )
            left, values, right = torch.linalg.svd(part.float(), full_matrices=False)
            a.copy_(right[: self.rank])
            b.copy_(left[:, : self.rank] * values[: self.rank])

    def _parts(self) -> list[tuple[Tensor, Tensor]]:
        """Return A (r, in) and B (width of the part, r) of each part."""
        return list(zip(self.lora_A.split(self.rank), self.lora_B.split(self.widths), strict=True))
