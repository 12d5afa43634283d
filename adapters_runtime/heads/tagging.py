"""One decision per token."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import PredictionHead, aligned, cross_entropy, label2id


class TaggingHead(PredictionHead):
    """One class per token; labels of -100 do not count."""

    head_type = "tagging"

    def __init__(
        self,
        model: Any,
        head_name: str,
        num_labels: int = 2,
        layers: int = 1,
        activation_function: str | None = "tanh",
        id2label: Mapping[int, str] | None = None,
        dropout_prob: float | None = None,
    ) -> None:
        super().__init__(head_name)
        self.config = {
            "head_type": self.head_type,
            "num_labels": num_labels,
            "layers": layers,
            "activation_function": activation_function,
            "label2id": label2id(num_labels, id2label),
            "dropout_prob": dropout_prob,
        }
        self.build(model)

    def forward(  # type: ignore[override]
        self,
        outputs: ModelOutput,
        cls_output: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        logits = self.through(outputs[0])
        loss = None
        if labels is not None:
            loss = cross_entropy(logits, aligned(labels, logits.shape[1]))
        return TokenClassifierOutput(loss=loss, logits=logits)
