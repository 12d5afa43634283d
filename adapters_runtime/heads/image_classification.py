"""One decision per image."""

from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import ImageClassifierOutput

from adapters_runtime.heads.built_in import BuiltInHead, arguments


class ImageClassificationHead(BuiltInHead):
    """One class per image, any number of labels (`multilabel`), or, with one label, a number."""

    head_type = "image_classification"
    of_sequence = True
    takes = arguments(
        num_labels=2,
        layers=2,
        activation_function="tanh",
        multilabel=False,
        id2label=None,
        use_pooler=False,
        bias=True,
        dropout_prob=None,
    )
    output_class = ImageClassifierOutput

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config["multilabel"] and logits.shape[-1] > 1:
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return super().loss(logits, labels)
