"""One decision per sequence, or any number of labels."""

from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import (
    Seq2SeqSequenceClassifierOutput,
    SequenceClassifierOutput,
)

from adapters_runtime.heads.built_in import BuiltInHead, arguments


class ClassificationHead(BuiltInHead):
    """One class per sequence; with a single label, a number (regression)."""

    head_type = "classification"
    of_sequence = True
    takes = arguments(
        num_labels=2,
        layers=2,
        activation_function="tanh",
        id2label=None,
        use_pooler=False,
        bias=True,
        dropout_prob=None,
    )
    output_class = SequenceClassifierOutput
    seq2seq_output_class = Seq2SeqSequenceClassifierOutput


class MultiLabelClassificationHead(ClassificationHead):
    """Any number of labels per sequence; labels are (batch, classes) of 0 and 1."""

    head_type = "multilabel_classification"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
