"""One decision per token."""

from typing import Any

from torch import Tensor
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import IGNORED, aligned, cross_entropy
from adapters_runtime.heads.built_in import BuiltInHead, arguments


class TaggingHead(BuiltInHead):
    """One class per token; labels of -100 do not count, nor do those of padding."""

    head_type = "tagging"
    takes = arguments(
        num_labels=2, layers=1, activation_function="tanh", id2label=None, dropout_prob=None
    )
    output_class = TokenClassifierOutput

    def forward(  # type: ignore[override]
        self,
        outputs: ModelOutput,
        cls_output: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        if labels is not None and attention_mask is not None:
            labels = _without_padding(labels, attention_mask)
        return super().forward(outputs, labels=labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, aligned(labels, logits.shape[1]))


def _without_padding(labels: Tensor, mask: Tensor) -> Tensor:
    return labels.masked_fill(mask == 0, IGNORED) if mask.shape == labels.shape else labels
