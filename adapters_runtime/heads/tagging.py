"""One decision per token."""

from torch import Tensor
from transformers.modeling_outputs import TokenClassifierOutput

from adapters_runtime.heads.base import IGNORED, aligned, cross_entropy
from adapters_runtime.heads.built_in import BuiltInHead, arguments


class TaggingHead(BuiltInHead):
    """One class per token; labels of -100 do not count, nor do those of padding."""

    head_type = "tagging"
    takes = arguments(
        num_labels=2, layers=1, activation_function="tanh", id2label=None, dropout_prob=None
    )
    output_class = TokenClassifierOutput

    def counted(self, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        if attention_mask is None or attention_mask.shape != labels.shape:
            return labels
        return labels.masked_fill(attention_mask == 0, IGNORED)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, aligned(labels, logits.shape[1]))
