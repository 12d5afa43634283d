"""LoRA of one whole module, as PEFT computes it: with a bias of B, and DoRA as its paper has it.

    y = x Wᵀ + b + s · (B A x + c)                                LoRA, c the bias of B
    y = f ⊙ (x Wᵀ + s · B A x) + b,   f = m / ‖W + s · B A‖       DoRA

Sources: Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1; Liu et al. 2024,
https://arxiv.org/abs/2402.09353, section 4. Dropout acts on the input of A alone in LoRA, and on
that of both maps in DoRA. An embedding is a map from one-hot vectors: W is its table transposed.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.methods.base import Host, LinearMethod


class AddressedLoRA(LinearMethod):
    """`lora_A` (r, in), `lora_B` (out, r), and perhaps `lora_bias` and `magnitude`, both (out)."""

    def __init__(self, weight: Tensor, rank: int, scaling: float, dropout: float) -> None:
        """Adapt the frozen `weight`, (out, in); a fresh adapter changes nothing."""
        super().__init__()
        outputs, inputs = weight.shape
        self.scaling = scaling
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(torch.empty(rank, inputs))
        self.lora_B = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.lora_bias: nn.Parameter | None = None
        self.magnitude: nn.Parameter | None = None

    def add_bias(self) -> None:
        self.lora_bias = nn.Parameter(torch.zeros(len(self.lora_B)))

    def add_magnitude(self, weight: Tensor) -> None:
        norm = torch.linalg.vector_norm(weight.detach(), dim=1)
        self.magnitude = nn.Parameter(norm.clone())

    def adapt(self, x: Tensor, y: Tensor, host: Host) -> Tensor:
        dropped = self.drop(x)
        update = F.linear(self.project(dropped, self.lora_A), self.lora_B, self.lora_bias)
        if self.magnitude is None:
            return torch.add(y, update, alpha=self.scaling)
        weight = host.weight()
        factor = self._factor(weight)
        plain = self.project(dropped, weight)
        return y + (factor - 1) * plain + factor * self.scaling * update

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        folded = weight + self.scaling * (self.lora_B @ self.lora_A).to(weight.dtype)
        if self.magnitude is not None:
            folded = folded * self._factor(weight)[:, None]
        if self.lora_bias is None:
            return folded, bias
        own = self.scaling * self.lora_bias
        return folded, own if bias is None else bias + own

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        if self.magnitude is not None or self.lora_bias is not None or self._drops():
            return None
        return self.lora_A, self.scaling * self.lora_B

    def _drops(self) -> bool:
        return self.training and self.dropout.p > 0

    def drop(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(x)
        return dropped

    def project(self, x: Tensor, matrix: Tensor) -> Tensor:
        """Return x times the transposed matrix, (..., rows of the matrix)."""
        return F.linear(x, matrix)

    def _factor(self, weight: Tensor) -> Tensor:
        assert self.magnitude is not None
        adapted = weight + self.scaling * (self.lora_B @ self.lora_A)
        norms: Tensor = torch.linalg.vector_norm(adapted.detach(), dim=1)
        return self.magnitude / norms


class AddressedEmbeddingLoRA(AddressedLoRA):
    """The same for an embedding: x is the ids, and `weight` the table transposed.

    `output_scale` is the factor that some models (Gemma) put on what they look up.
    """

    output_scale = 1.0

    def drop(self, x: Tensor) -> Tensor:
        return x  # ids

    def project(self, x: Tensor, matrix: Tensor) -> Tensor:
        return F.embedding(x, matrix.t()) * self.output_scale
