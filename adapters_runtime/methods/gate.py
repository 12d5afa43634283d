"""Gates of what an adapter does to a linear map: one value for each row and part of the output.

    g = mean over tokens of sigmoid(w x + c)

Source: UniPELT, Mao et al. 2022, https://arxiv.org/abs/2110.07577, section 3.2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Gate(nn.Linear):
    """Reads the map's input, (batch, length, in)."""

    def __init__(self, in_features: int, widths: Sequence[int]) -> None:
        """`widths` are the output features of each part."""
        super().__init__(in_features, len(widths))
        self.widths = list(widths)
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    def values(self, x: Tensor) -> Tensor:
        """Return the gates, (batch, 1, parts)."""
        return torch.sigmoid(self(x)).mean(dim=1, keepdim=True)

    def spread(self, x: Tensor) -> Tensor:
        """Return the gates, (batch, 1, sum of part widths): one value per part, repeated."""
        gates = self.values(x)
        spread = [
            gates[..., part : part + 1].expand(*gates.shape[:-1], width)
            for part, width in enumerate(self.widths)
        ]
        return spread[0] if len(spread) == 1 else torch.cat(spread, dim=-1)
