"""VeRA: random matrices that all layers share and nobody trains, and two learned vectors per map.

    y = x Wᵀ + b + (alpha / r) · b_v ⊙ B (d_v ⊙ A x)

Source: Kopiczko et al. 2023, https://arxiv.org/abs/2310.11454, section 3.1. The vector b_v starts
at zero in the presets, so that a fresh adapter changes nothing. The paper has maps of one size;
where sizes differ, each map takes its part of matrices as large as the largest.

AdapterHub's files hold the vectors as the diagonals of square matrices, and its library trains the
whole matrices. Ours trains the diagonal, and keeps the rest of a matrix only if a file brings one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import LoRAConfig
from adapters_runtime.methods.base import Sharing
from adapters_runtime.methods.low_rank import LowRank

DIAGONALS = ("vera_D", "vera_B")


class Projections(nn.Module):
    """`lora_A` (r, largest in) and `lora_B` (largest out, r), which nothing trains: buffers."""

    lora_A: Tensor  # noqa: N815  (the name in AdapterHub's files)
    lora_B: Tensor  # noqa: N815

    def __init__(self, in_features: int, out_features: int, config: LoRAConfig) -> None:
        super().__init__()
        for name, shape in (
            ("lora_A", (config.r, in_features)),
            ("lora_B", (out_features, config.r)),
        ):
            values = torch.empty(shape)
            if config.init_weights == "bert":
                nn.init.normal_(values, std=0.02)
            else:
                nn.init.kaiming_uniform_(values)
            self.register_buffer(name, values)


class VeRA(LowRank, Sharing):
    """`vera_D` (r · parts) and `vera_B` (sum of part widths): vectors, or square matrices."""

    config: LoRAConfig

    def __init__(self, in_features: int, widths: Sequence[int], config: LoRAConfig) -> None:
        super().__init__(in_features, widths, config)
        self.config = config
        self.vera_D = nn.Parameter(torch.full((config.r * len(self.widths),), config.vera_d or 0.0))
        self.vera_B = nn.Parameter(torch.full((sum(self.widths),), config.vera_b or 0.0))

    @classmethod
    def build_shared(cls, fellows: Sequence["VeRA"]) -> Projections:
        in_features = max(fellow.in_features for fellow in fellows)
        out_features = max(width for fellow in fellows for width in fellow.widths)
        return Projections(in_features, out_features, fellows[0].config)

    def use_shared(self, shared: nn.Module) -> None:
        assert isinstance(shared, Projections)
        self._shared = (shared,)

    def update(self, x: Tensor) -> Tensor:
        if self.vera_B.dim() == 2 or self.vera_D.dim() == 2:
            return F.linear(x, self.delta())
        low = F.linear(x, self._down())  # (..., r)
        parts = zip(self.vera_D.split(self.rank), self._up(), strict=True)
        return torch.cat([F.linear(low * d, up) for d, up in parts], dim=-1) * self.vera_B

    def down(self) -> Tensor:
        return self._down().repeat(len(self.widths), 1)  # (r · parts, in)

    def up(self) -> Tensor:
        up = torch.block_diag(*self._up())  # (sum of part widths, r · parts)
        left = self.vera_B @ up if self.vera_B.dim() == 2 else self.vera_B[:, None] * up
        scaled: Tensor = left @ self.vera_D if self.vera_D.dim() == 2 else left * self.vera_D
        return scaled

    def _down(self) -> Tensor:
        """Return what this map takes of the shared A, (r, in)."""
        return self._projections.lora_A[:, : self.in_features].to(self.vera_D)

    def _up(self) -> list[Tensor]:
        """Return what each part takes of the shared B, (width of the part, r)."""
        return [self._projections.lora_B[:width].to(self.vera_B) for width in self.widths]

    @property
    def _projections(self) -> Projections:
        shared = self._shared[0]
        assert isinstance(shared, Projections)
        return shared

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in DIAGONALS:
            if destination[prefix + name].dim() == 1:
                destination[prefix + name] = torch.diag(destination[prefix + name])

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any
    ) -> None:
        found = dict(state_dict)
        for name in DIAGONALS:
            found[prefix + name] = self._fitting(name, found[prefix + name])
        super()._load_from_state_dict(found, prefix, *args)

    def _fitting(self, name: str, matrix: Tensor) -> Tensor:
        """Return a file's matrix in the form we keep, and make room for that form."""
        diagonal = matrix.diagonal()
        values = diagonal if torch.equal(torch.diag(diagonal), matrix) else matrix
        own = getattr(self, name)
        if own.shape != values.shape:
            room = torch.empty(values.shape, dtype=own.dtype, device=own.device)
            setattr(self, name, nn.Parameter(room, requires_grad=own.requires_grad))
        return values
