"""LoRA: a low-rank update beside a frozen linear map.

    y = x Wᵀ + b + (alpha / r) · B A x

Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1. A starts random and B at
zero, so a fresh adapter leaves the model's output unchanged. Several maps that share their input
(query and value of a fused projection) are adapted by one module: A holds r rows for each.

With `use_gating` (UniPELT: Mao et al. 2022, https://arxiv.org/abs/2110.07577, section 3.2) the
update is scaled by a gate, the mean over tokens of sigmoid(w x + c), in place of alpha / r.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import LoRAConfig
from adapters_runtime.errors import MergeStateError
from adapters_runtime.methods.base import LinearMethod


class LoRA(LinearMethod):
    """`lora_A` (r · parts, in) and `lora_B` (sum of part widths, r)."""

    def __init__(self, in_features: int, widths: Sequence[int], config: LoRAConfig) -> None:
        super().__init__()
        self.widths = list(widths)
        self.rank = config.r
        self.scaling = config.alpha / config.r
        parts = len(self.widths)
        self.lora_A = nn.Parameter(torch.empty(config.r * parts, in_features))
        self.lora_B = nn.Parameter(torch.empty(sum(self.widths), config.r))
        self.gate = nn.Linear(in_features, parts) if config.use_gating else None
        self.dropout = nn.Dropout(config.dropout)
        self._initialise(config.init_weights)

    def _initialise(self, scheme: str) -> None:
        if scheme == "bert":
            nn.init.normal_(self.lora_A, std=0.02)
            nn.init.normal_(self.lora_B, std=0.02)
        else:
            # The bound nn.Linear uses, so that A starts at the scale of any other projection.
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
            nn.init.zeros_(self.lora_B)
        if self.gate is not None:
            nn.init.normal_(self.gate.weight, std=0.02)
            nn.init.zeros_(self.gate.bias)

    def adapt(self, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        update = self._update(self.dropout(x))
        if self.gate is None:
            return torch.add(y, update, alpha=self.scaling)
        return y + update * self.gate_values(x)

    def gate_values(self, x: Tensor) -> Tensor:
        """Return the gates, (batch, 1, sum of part widths): one value per part, repeated."""
        gates = self.gates(x)
        assert gates is not None
        spread = [
            gates[..., part : part + 1].expand(*gates.shape[:-1], width)
            for part, width in enumerate(self.widths)
        ]
        return spread[0] if len(spread) == 1 else torch.cat(spread, dim=-1)

    def gates(self, x: Tensor) -> Tensor | None:
        if self.gate is None:
            return None
        return torch.sigmoid(self.gate(x)).mean(dim=1, keepdim=True)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.gate is not None:
            raise MergeStateError("a gated LoRA depends on its input and cannot be merged")
        updates = [
            b @ a
            for a, b in zip(
                self.lora_A.split(self.rank), self.lora_B.split(self.widths), strict=True
            )
        ]
        return weight + self.scaling * torch.cat(updates).to(weight.dtype), bias

    def _update(self, x: Tensor) -> Tensor:
        low = F.linear(x, self.lora_A)  # (..., r · parts)
        if len(self.widths) == 1:
            return F.linear(low, self.lora_B)
        parts = zip(low.split(self.rank, dim=-1), self.lora_B.split(self.widths), strict=True)
        return torch.cat([F.linear(part, rows) for part, rows in parts], dim=-1)
