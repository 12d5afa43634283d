"""The prediction heads, as layers over a base model's hidden states.

A head is a sequence numbered as AdapterHub's files number it: dropout, linear and activation for
each layer but the last, then dropout and the projection.
"""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import (
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import ModelOutput

from adapters_runtime.methods.activations import Activation

HeadConfig = dict[str, Any]
"""`config` of head_config.json: head_type, num_labels, layers, activation_function, ..."""


class PredictionHead(nn.Sequential):
    """Base of all heads; `config` is what its file says, and enough to build it again."""

    head_type: ClassVar[str]

    def __init__(self, name: str, config: HeadConfig, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self.name = name
        self.config = {**config, "head_type": self.head_type}
        self.brings_table = False
        """Whether its projection is a token embedding of its own; see `heads.own_table`."""

    @classmethod
    @abstractmethod
    def build(cls, name: str, config: HeadConfig, model_config: Any) -> "PredictionHead":
        """Build a head of random weights for a model of this configuration."""

    @abstractmethod
    def predict(self, hidden: Tensor, summary: Tensor, labels: Tensor | None) -> ModelOutput:
        """Hidden is (batch, length, width), summary (batch, width): one vector for the sequence."""

    @property
    def id2label(self) -> dict[int, str]:
        return {index: label for label, index in (self.config.get("label2id") or {}).items()}

    def output_embedding(self) -> nn.Linear | None:
        """Return the projection to the vocabulary, of a language modelling head."""
        return None


class ClassificationHead(PredictionHead):
    """One decision per sequence, or, with one label, a number."""

    head_type = "classification"

    @classmethod
    def build(cls, name: str, config: HeadConfig, model_config: Any) -> "ClassificationHead":
        return cls(name, config, *_classifier(config, model_config))

    def predict(self, hidden: Tensor, summary: Tensor, labels: Tensor | None) -> ModelOutput:
        logits = self(summary)
        loss = None if labels is None else self.loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.shape[-1] == 1:
            return F.mse_loss(logits.view(-1), labels.view(-1).to(logits.dtype))
        return F.cross_entropy(logits, labels.view(-1))


class MultiLabelClassificationHead(ClassificationHead):
    """Any number of labels per sequence."""

    head_type = "multilabel_classification"

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


class TaggingHead(PredictionHead):
    """One decision per token; labels of -100 do not count."""

    head_type = "tagging"

    @classmethod
    def build(cls, name: str, config: HeadConfig, model_config: Any) -> "TaggingHead":
        return cls(name, config, *_classifier(config, model_config))

    def predict(self, hidden: Tensor, summary: Tensor, labels: Tensor | None) -> ModelOutput:
        logits = self(hidden)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return TokenClassifierOutput(loss=loss, logits=logits)


class MaskedLMHead(PredictionHead):
    """BERT's language modelling head; its last weight is the base's token embedding."""

    head_type = "masked_lm"

    @classmethod
    def build(cls, name: str, config: HeadConfig, model_config: Any) -> "MaskedLMHead":
        width = model_config.hidden_size
        embedded = config.get("embedding_size") or width
        modules: list[nn.Module] = []
        for _ in range(config["layers"] - 1):
            modules += [nn.Linear(width, embedded), Activation(config["activation_function"])]
            if config.get("layer_norm", True):
                modules.append(
                    nn.LayerNorm(embedded, eps=getattr(model_config, "layer_norm_eps", 1e-5))
                )
            width = embedded
        modules.append(nn.Linear(width, model_config.vocab_size, bias=config.get("bias", True)))
        return cls(name, config, *modules)

    def predict(self, hidden: Tensor, summary: Tensor, labels: Tensor | None) -> ModelOutput:
        logits = self(hidden)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits)

    def output_embedding(self) -> nn.Linear | None:
        last = self[-1]
        assert isinstance(last, nn.Linear)
        return last


HEADS: dict[str, type[PredictionHead]] = {
    head.head_type: head
    for head in (ClassificationHead, MultiLabelClassificationHead, TaggingHead, MaskedLMHead)
}


def _classifier(config: HeadConfig, model_config: Any) -> list[nn.Module]:
    width = model_config.hidden_size
    dropout: float | None = config.get("dropout_prob")
    if dropout is None:
        dropout = float(getattr(model_config, "hidden_dropout_prob", 0.0))
    modules: list[nn.Module] = []
    for _ in range(config["layers"] - 1):
        modules += [
            nn.Dropout(dropout),
            nn.Linear(width, width),
            Activation(config["activation_function"]),
        ]
    modules += [
        nn.Dropout(dropout),
        nn.Linear(width, config["num_labels"], bias=config.get("bias", True)),
    ]
    std = getattr(model_config, "initializer_range", 0.02)
    for module in modules:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return modules
