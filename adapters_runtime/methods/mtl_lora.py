"""MTL-LoRA: one LoRA for several tasks, with a small matrix of the task's own between A and B.

    y = x Wᵀ + b + (alpha / r) · (sum over u of p_u B_u) Λᵀ A x,   p = softmax(w / sharpness)

Source: Yang et al. 2024, https://arxiv.org/abs/2410.09437, section 3. Λ (one for each task) is
diagonal or full; it starts as the identity, since B starts at zero and nothing would ever learn if
both did. Adapters that share parameters have A and all B in common, and differ in Λ and w.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import MTLLoRAConfig
from adapters_runtime.methods.low_rank import LowRank


class TaskMatrix(nn.Module):
    """Λ of each part: `values` (r · parts) for diagonals, else (r · parts, r)."""

    def __init__(self, rank: int, parts: int, *, diagonal: bool) -> None:
        super().__init__()
        self.rank = rank
        values = torch.ones(rank) if diagonal else torch.eye(rank)
        self.values = nn.Parameter(torch.cat([values] * parts))

    def forward(self, low: Tensor) -> Tensor:
        """Multiply each part's r features, (..., r · parts), by its Λ."""
        if self.values.dim() == 1:
            return low * self.values
        parts = zip(low.split(self.rank, dim=-1), self.values.split(self.rank), strict=True)
        return torch.cat([part @ matrix for part, matrix in parts], dim=-1)


class MTLLoRA(LowRank):
    """`lora_A` (r · parts, in), `lora_B` (n_up, sum of part widths, r), `weights` (n_up)."""

    shareable = ("lora_A", "lora_B")
    """What the adapters of several tasks may have in common."""

    def __init__(self, in_features: int, widths: Sequence[int], config: MTLLoRAConfig) -> None:
        super().__init__(in_features, widths, config)
        parts = len(self.widths)
        self.sharpness = config.weights_sharpness
        self.lora_A = nn.Parameter(torch.empty(config.r * parts, in_features))
        self.lora_B = nn.Parameter(torch.empty(config.n_up_projection, sum(self.widths), config.r))
        self.task_specific = TaskMatrix(
            config.r, parts, diagonal=config.task_specific_matrix_type == "singular_values"
        )
        self.weights = nn.Parameter(torch.ones(config.n_up_projection))
        if config.init_weights == "bert":
            nn.init.normal_(self.lora_A, std=0.02)
            nn.init.normal_(self.lora_B, std=0.02)
        else:
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
            nn.init.zeros_(self.lora_B)

    def update(self, x: Tensor) -> Tensor:
        return self._up(self.task_specific(F.linear(x, self.lora_A)))

    def down(self) -> Tensor:
        scaled: Tensor = self.task_specific(self.lora_A.t())
        return scaled.t()

    def up(self) -> Tensor:
        up: Tensor = torch.block_diag(*self._mixture().split(self.widths))
        return up

    def _up(self, low: Tensor) -> Tensor:
        """Return (..., sum of part widths) from (..., r · parts)."""
        parts = zip(low.split(self.rank, dim=-1), self._mixture().split(self.widths), strict=True)
        return torch.cat([F.linear(part, rows) for part, rows in parts], dim=-1)

    def _mixture(self) -> Tensor:
        # The mixture of the outputs is the output of the mixture, so one product does for all.
        weights = torch.softmax(self.weights / self.sharpness, dim=0)
        return torch.einsum("u,uor->or", weights, self.lora_B)
