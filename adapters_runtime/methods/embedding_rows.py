"""Own rows of the token embedding for some token ids; all other ids keep the base's rows.

Source: MAD-X 2.0 replaces the whole embedding of a language (Pfeiffer et al. 2021, "UNKs
Everywhere", https://arxiv.org/abs/2012.15562, section 3); rows for the tokens that a language
really uses are the same idea at a fraction of the size. A tied output embedding sees them too.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EmbeddingRows(nn.Module):
    """`weight` (number of ids, width), in the order of the ids."""

    ids: Tensor
    position: Tensor

    def __init__(self, token_ids: Sequence[int], embedding: Tensor) -> None:
        """Start from the rows that `embedding`, (vocabulary, width), has for the ids."""
        super().__init__()
        ids = torch.tensor(token_ids, dtype=torch.long, device=embedding.device)
        position = torch.full((len(embedding),), -1, dtype=torch.long, device=embedding.device)
        position[ids] = torch.arange(len(ids), device=embedding.device)
        # Both follow from the configuration, so neither is saved.
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("position", position, persistent=False)
        self.weight = nn.Parameter(embedding.detach()[ids].clone())

    def embed(self, token_ids: Tensor, embedded: Tensor, scale: float | Tensor = 1.0) -> Tensor:
        """Replace what the base embedded, (..., width), where a token has a row of its own.

        `scale` is the factor that some models (Gemma, PLBART) put on what they look up.
        """
        position = self.position[token_ids]
        own = F.embedding(position.clamp(min=0), self.weight) * scale
        return torch.where((position >= 0).unsqueeze(-1), own, embedded)

    def project(self, hidden: Tensor, logits: Tensor, bias: Tensor | None) -> Tensor:
        """Replace the logits of the ids, (..., vocabulary), by those of their own rows."""
        own = F.linear(hidden, self.weight, None if bias is None else bias[self.ids])
        return logits.index_copy(-1, self.ids, own.to(logits.dtype))
