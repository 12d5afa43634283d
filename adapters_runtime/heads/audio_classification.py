"""One decision per recording, from the mean of what the encoder heard."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import PredictionHead, label2id


class AudioClassificationHead(PredictionHead):
    """One class per recording; with a single label, a number. The decoder has no say in it."""

    head_type = "audio_classification"

    def __init__(
        self,
        model: Any,
        head_name: str,
        num_labels: int = 2,
        layers: int = 2,
        activation_function: str | None = "tanh",
        id2label: Mapping[int, str] | None = None,
        bias: bool = True,
        dropout_prob: float | None = None,
    ) -> None:
        super().__init__(head_name)
        self.config = {
            "head_type": self.head_type,
            "num_labels": num_labels,
            "layers": layers,
            "activation_function": activation_function,
            "label2id": label2id(num_labels, id2label),
            "bias": bias,
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
        heard: Tensor = outputs["encoder_last_hidden_state"]
        logits = self.through(heard.mean(dim=1))  # (batch, frames, width) -> (batch, classes)
        loss = None if labels is None else self.loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.shape[-1] == 1:
            return F.mse_loss(logits.view(-1), labels.view(-1).to(logits.dtype))
        return F.cross_entropy(logits, labels.view(-1))
