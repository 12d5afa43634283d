"""What LoRA and its kin have in common: an update ΔW of small rank beside a frozen linear map.

    y = x Wᵀ + b + (alpha / r) · x ΔWᵀ

Several maps that share their input (the query and value of a fused projection) are adapted by one
module: its rows of ΔW follow one another, each part made by matrices of its own.

With `use_gating` the update is scaled by a gate, in place of alpha / r.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adapters_runtime.configs import LoRAConfig
from adapters_runtime.errors import MergeStateError
from adapters_runtime.methods.base import Host, LinearMethod, Rescaling
from adapters_runtime.methods.gate import Gate


class LowRank(LinearMethod):
    """`m`, if there is one, rescales the output features: DoRA's magnitude."""

    def __init__(self, in_features: int, widths: Sequence[int], config: LoRAConfig) -> None:
        super().__init__()
        self.in_features = in_features
        self.widths = list(widths)
        self.rank = config.r
        self.scaling = config.alpha / config.r
        self.dropout = nn.Dropout(config.dropout)
        self.gate = Gate(in_features, widths) if config.use_gating else None
        self.m: Rescaling | None = None

    @abstractmethod
    def update(self, x: Tensor) -> Tensor:
        """Return x ΔWᵀ, (..., sum of part widths), not scaled."""

    @abstractmethod
    def down(self) -> Tensor:
        """Return the right factor of ΔW, (k, in)."""

    @abstractmethod
    def up(self) -> Tensor:
        """Return the left factor of ΔW, (sum of part widths, k), not scaled."""

    def delta(self) -> Tensor:
        """Return ΔW, (sum of part widths, in), not scaled."""
        return self.up() @ self.down()

    def adapt(self, x: Tensor, y: Tensor, host: Host) -> Tensor:
        if self.gate is not None:
            return y + self.update(self.dropout(x)) * self.gate.spread(x)
        adapted = self.add_update(y, self.dropout(x))
        return adapted if self.m is None else adapted * self.m.factor(host.weight(), self.delta())

    def add_update(self, y: Tensor, x: Tensor) -> Tensor:
        """Return y + (alpha / r) · x ΔWᵀ, (..., sum of part widths)."""
        return torch.add(y, self.update(x), alpha=self.scaling)

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        drops = self.training and self.dropout.p > 0.0
        if drops or self.gate is not None or self.m is not None:
            return None
        return self.down(), self.up() * self.scaling

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.gate is not None:
            raise MergeStateError("a gated adapter depends on its input and cannot be merged")
        delta = self.delta().to(weight.dtype)
        folded = weight + self.scaling * delta
        if self.m is None:
            return folded, bias
        factor = self.m.factor(weight, delta)
        return folded * factor[:, None], None if bias is None else bias * factor

    def gates(self, x: Tensor) -> Tensor | None:
        return None if self.gate is None else self.gate.values(x)
