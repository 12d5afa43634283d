"""Prompt tuning: learned embeddings among those of the text.

    x' = [p_1, ..., p_n, x_1, ..., x_m]

Source: Lester et al. 2021, https://arxiv.org/abs/2104.08691, section 2. They may stand after the
first token instead, so that one which stands for the whole text stays the first.
"""

import torch
from torch import Tensor, nn

from adapters_runtime.configs import PromptTuningConfig


class PromptTuning(nn.Module):
    """`prompt_embedding.weight` (length, width)."""

    def __init__(self, config: PromptTuningConfig, width: int) -> None:
        super().__init__()
        self.prompt_embedding = nn.Embedding(config.prompt_length, width)
        self.position = 1 if config.combine == "prefix_after_bos" else 0
        bound = config.random_uniform_scale
        nn.init.uniform_(self.prompt_embedding.weight, -bound, bound)

    @property
    def prompt(self) -> Tensor:
        return self.prompt_embedding.weight

    def start_from(self, embedded: Tensor) -> None:
        """Start from the embeddings of a text, (tokens, width), repeated or cut to the length."""
        repeats = -(-len(self.prompt) // len(embedded))
        with torch.no_grad():
            self.prompt.copy_(embedded.repeat(repeats, 1)[: len(self.prompt)])

    def insert(self, tokens: Tensor, inserted: Tensor) -> Tensor:
        """Insert (length, ...) into each row of (rows, tokens, ...) where the prompt stands."""
        rows = inserted.expand(len(tokens), *inserted.shape).to(tokens.dtype)
        before, after = tokens[:, : self.position], tokens[:, self.position :]
        return torch.cat([before, rows, after], dim=1)
