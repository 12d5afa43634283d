"""AdapterFusion: attention over what several adapters give at one place.

    s_i = (K a_i + b_K) · (Q x + b_Q),   p = softmax(s / T),   y = V (sum over i of p_i a_i) + r

Source: Pfeiffer et al. 2021, https://arxiv.org/abs/2005.00247, section 3.2. a_i is the output of
adapter i before its residual r, x what all of them read.

Keys and values of single adapters are never computed. K a_i · q equals a_i · Kᵀ q, b_K · q is the
same for all i and leaves the softmax as it is, and V is linear: two products with (width, width)
matrices replace one for the query and two for each adapter.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import AdapterFusionConfig

START_TEMPERATURE = 50.0
STEPS_TO_COOL = 1000


class Fused(NamedTuple):
    """The mixture, (batch, length, width), and the attention, (batch, length, adapters)."""

    mixture: Tensor
    attention: Tensor


class AdapterFusion(nn.Module):
    """`query`, `key` and `value`, each only if its configuration has it."""

    temperature: Tensor

    def __init__(self, width: int, config: AdapterFusionConfig) -> None:
        super().__init__()
        self.config = config
        self.query = _projection(width) if config.query else None
        self.key = _projection(width) if config.key else None
        self.value = _value(width, config) if config.value else None
        if not (config.query or config.key or config.value):
            self.dense = nn.Linear(width, 1)  # unused, but AdapterHub's files hold it
        self.dropout = nn.Dropout(config.dropout_prob or 0.0)
        start = START_TEMPERATURE if config.temperature else 1.0
        self.register_buffer("temperature", torch.tensor(start), persistent=False)

    def forward(self, x: Tensor, outputs: Sequence[Tensor], residual: Tensor) -> Fused:
        """All are (batch, length, width)."""
        stacked = torch.stack(list(outputs), dim=-2)  # (batch, length, adapters, width)
        attention = torch.softmax(self._scores(x, stacked, residual), dim=-1)
        mixture = torch.matmul(attention.unsqueeze(-2), stacked).squeeze(-2)
        if self.config.residual_before:
            mixture = mixture + residual
        if self.value is not None:
            mixture = self.value(mixture)
        return Fused(mixture if self.config.residual_before else mixture + residual, attention)

    def _scores(self, x: Tensor, stacked: Tensor, residual: Tensor) -> Tensor:
        query = x if self.query is None else self.query(x)
        pulled = query if self.key is None else F.linear(query, self.key.weight.t())  # Kᵀ q
        scores = torch.matmul(stacked, pulled.unsqueeze(-1)).squeeze(-1)
        if self.training and self.dropout.p > 0.0:
            # Dropped scores become zero, so here what all have in common makes a difference.
            scores = self.dropout(scores + self._common(query, pulled, residual))
        return scores / self._cooled() if self.config.temperature else scores

    def _common(self, query: Tensor, pulled: Tensor, residual: Tensor) -> Tensor:
        """Return the part of the scores that is the same for all adapters, (batch, length, 1)."""
        common = torch.zeros_like(query[..., :1])
        if self.key is not None:
            common = common + F.linear(query, self.key.bias[None])
        if self.config.residual_before:
            common = common + (pulled * residual).sum(dim=-1, keepdim=True)
        return common

    def _cooled(self) -> Tensor:
        """Return the temperature, which falls with each training step and in evaluation stays."""
        if not self.training:
            return self.temperature
        now = self.temperature.clone()
        with torch.no_grad():
            self.temperature.sub_(START_TEMPERATURE / STEPS_TO_COOL).clamp_(min=1.0)
        return now

    def regularization_loss(self) -> Tensor | None:
        """Return how far V is from the identity, or None when nothing pulls it there."""
        if self.value is None or not self.config.regularization:
            return None
        weight = self.value.weight
        target = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        return 0.01 * (target - weight).pow(2).sum()


def _projection(width: int) -> nn.Linear:
    linear = nn.Linear(width, width)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear


def _value(width: int, config: AdapterFusionConfig) -> nn.Linear:
    linear = nn.Linear(width, width, bias=False)
    if config.value_initialized:
        nn.init.constant_(linear.weight, 1e-6)
        with torch.no_grad():
            linear.weight.fill_diagonal_(1.0)
    else:
        nn.init.normal_(linear.weight, std=0.02)
    return linear
