"""Biaffine dependency parsing over the words of a sentence.

Glavaš and Vulić, "Is Supervised Syntactic Parsing Beneficial for Language Understanding? An
Empirical Investigation", https://arxiv.org/abs/2008.06788, section 2; the biaffine scores are those
of Dozat and Manning, https://arxiv.org/abs/1611.01734, equations 7 and 8:
s[o, x, y] = [x, 1] W[o] [y, 1], for a word x and what may be its head y.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import dropout_rate
from adapters_runtime.heads.built_in import BuiltInHead, arguments


@dataclass
class DependencyParsingOutput(ModelOutput):
    """Scores of each word's head, (batch, words, words + 1), where column 0 is the root, and of its
    relation to each of them, (batch, words, words + 1, relations).
    """

    loss: Tensor | None = None
    rel_preds: Tensor | None = None
    arc_preds: Tensor | None = None


class Biaffine(nn.Module):
    """The weight is zero at first, so all heads are equally likely."""

    def __init__(self, width: int, outputs: int, *, second_bias: bool) -> None:
        super().__init__()
        self.second_bias = second_bias
        self.weight = nn.Parameter(torch.zeros(outputs, width + 1, width + second_bias))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (batch, outputs, X, Y) of x, (batch, X, width), and y, (batch, Y, width)."""
        x = F.pad(x, (0, 1), value=1.0)
        if self.second_bias:
            y = F.pad(y, (0, 1), value=1.0)
        return torch.einsum("bxi,oij,byj->boxy", x, self.weight, y)


class BiaffineParsingHead(BuiltInHead):
    """A word is the mean of its tokens; the first token of the sentence stands for the root.

    `word_starts`, (batch, length), holds the positions where the words begin, then the one behind
    the last word; what follows is 0 or less. Labels are per word and count where they are not
    negative; in `labels_arcs` 0 is the root and i the i-th word.
    """

    head_type = "dependency_parsing"
    takes = arguments(num_labels=2, id2label=None)
    output_class = DependencyParsingOutput

    def build(self, model: Any) -> None:
        width = model.config.get_text_config().hidden_size
        self.biaffine_arcs = Biaffine(width, 1, second_bias=False)
        self.biaffine_rels = Biaffine(width, self.config["num_labels"], second_bias=True)
        self.dropout = nn.Dropout(dropout_rate(self.config, model.config))
        self.settle(model)

    def get_label_names(self) -> list[str]:
        return ["labels_arcs", "labels_rels"]

    def forward(  # type: ignore[override]
        self,
        outputs: ModelOutput,
        cls_output: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
        word_starts: Tensor | None = None,
        labels_arcs: Tensor | None = None,
        labels_rels: Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        if word_starts is None:
            raise TypeError(f"head {self.name!r} needs `word_starts`: where the words begin")
        hidden = self.dropout(outputs[0])
        words = mean_of_words(hidden, word_starts)
        heads = torch.cat([hidden[:, :1], words], dim=1)
        arcs = self.biaffine_arcs(words, heads).squeeze(1)
        relations = self.biaffine_rels(words, heads).permute(0, 2, 3, 1)
        loss = None
        if labels_arcs is not None and labels_rels is not None:
            loss = parsing_loss(arcs, relations, labels_arcs, labels_rels)
        return self.made(outputs, loss=loss, rel_preds=relations, arc_preds=arcs)


def mean_of_words(hidden: Tensor, starts: Tensor) -> Tensor:
    """Return (batch, length, width): the words' vectors first, then zeros."""
    length = hidden.shape[1]
    ends = F.pad(starts[:, 1:], (0, 1))
    position = torch.arange(length, device=hidden.device)
    inside = (starts.unsqueeze(-1) <= position) & (position < ends.unsqueeze(-1))
    inside &= ((starts > 0) & (ends > 0)).unsqueeze(-1)
    inside = F.pad(inside, (0, 0, 0, max(0, length - inside.shape[1])))[:, :length]
    share = inside / inside.sum(dim=-1, keepdim=True).clamp(min=1)  # (batch, words, tokens)
    return share.to(hidden.dtype) @ hidden


def parsing_loss(arcs: Tensor, relations: Tensor, heads: Tensor, labels: Tensor) -> Tensor:
    """Sum of the losses of the head and, given the right head, of the relation."""
    counts = heads >= 0
    right = heads[counts]
    of_arcs = F.cross_entropy(arcs[counts], right)
    given = relations[counts][torch.arange(len(right), device=right.device), right]
    return of_arcs + F.cross_entropy(given, labels[counts])
