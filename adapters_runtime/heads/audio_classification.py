"""One decision per recording, from the mean of what the encoder heard."""

from torch import Tensor
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.built_in import BuiltInHead, arguments


class AudioClassificationHead(BuiltInHead):
    """One class per recording; with a single label, a number. The decoder has no say in it."""

    head_type = "audio_classification"
    takes = arguments(
        num_labels=2,
        layers=2,
        activation_function="tanh",
        id2label=None,
        bias=True,
        dropout_prob=None,
    )
    output_class = SequenceClassifierOutput

    def logits(self, outputs: ModelOutput, cls_output: Tensor | None) -> Tensor:
        heard: Tensor = outputs["encoder_last_hidden_state"]
        return self.through(heard.mean(dim=1))  # (batch, frames, width) -> (batch, classes)
