"""The heads that predict tokens: the masked ones, the next one, the next one of a translation.

The last layer projects to the vocabulary. Where the base ties its own projection to its token
embedding, this one is tied too: it is the same parameter, and not in the head's file.
"""

from typing import Any

from torch import Tensor, nn
from transformers.modeling_outputs import (
    CausalLMOutputWithPast,
    MaskedLMOutput,
    Seq2SeqLMOutput,
)
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import PredictionHead, aligned, cross_entropy
from adapters_runtime.methods.activations import Activation


class LanguageModelingHead(PredictionHead):
    """Linear, activation and norm for each layer but the last, then the projection."""

    def build(self, model: Any) -> None:
        config = self.config
        width = model.config.get_text_config().hidden_size
        embedded = config.get("embedding_size", width)
        for _ in range(config["layers"] - 1):
            self.append(nn.Linear(width, embedded))
            if config["activation_function"]:
                self.append(Activation(config["activation_function"]))
            if config["layer_norm"]:
                self.append(nn.LayerNorm(embedded, eps=_epsilon(model.config)))
            width = embedded
        self.append(nn.Linear(embedded, config["vocab_size"], bias=config["bias"]))
        self.settle(model)
        self.tie(model)

    def tie(self, model: Any) -> None:
        """Make the projection the base's token embedding, if the base does so itself."""
        output, table = self.get_output_embeddings(), model.get_input_embeddings().weight
        if ties_output(model.config) and output.weight.shape == table.shape:
            output.weight = table

    def get_output_embeddings(self) -> nn.Linear:
        last = self[-1]
        assert isinstance(last, nn.Linear)
        return last

    def set_output_embeddings(self, projection: nn.Linear) -> None:
        self[-1] = projection

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
        loss = None if labels is None else self.loss(logits, labels)
        return self.output(loss, logits)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        labels = aligned(labels, logits.shape[1])
        if self.config["shift_labels"]:
            logits, labels = logits[:, :-1], labels[:, 1:]
        return cross_entropy(logits, labels)

    def output(self, loss: Tensor | None, logits: Tensor) -> ModelOutput:
        raise NotImplementedError


class CausalLMHead(LanguageModelingHead):
    """Predicts the next token: the logits at a position are held against the label of the next."""

    head_type = "causal_lm"

    def __init__(
        self,
        model: Any,
        head_name: str,
        vocab_size: int | None = None,
        embedding_size: int | None = None,
        layers: int = 1,
        activation_function: str | None = None,
        layer_norm: bool = False,
        bias: bool = False,
        shift_labels: bool = True,
        dropout_prob: float | None = None,
    ) -> None:
        super().__init__(head_name)
        self.config = {
            "head_type": self.head_type,
            "vocab_size": vocab_size or tokens_of(model),
            "embedding_size": embedding_size or embedded_width(model.config),
            "layers": layers,
            "activation_function": activation_function,
            "layer_norm": layer_norm,
            "bias": bias,
            "shift_labels": shift_labels,
            "label2id": None,
            "dropout_prob": dropout_prob,
        }
        self.build(model)

    def output(self, loss: Tensor | None, logits: Tensor) -> ModelOutput:
        return CausalLMOutputWithPast(loss=loss, logits=logits)


class Seq2SeqLMHead(LanguageModelingHead):
    """Predicts the next token of the decoder's text, whose input is the labels moved by one."""

    head_type = "seq2seq_lm"

    def __init__(
        self,
        model: Any,
        head_name: str,
        vocab_size: int | None = None,
        layers: int = 1,
        activation_function: str | None = None,
        layer_norm: bool = False,
        bias: bool = False,
        shift_labels: bool = False,
    ) -> None:
        super().__init__(head_name)
        self.config = {
            "head_type": self.head_type,
            "vocab_size": vocab_size or tokens_of(model),
            "layers": layers,
            "activation_function": activation_function,
            "layer_norm": layer_norm,
            "bias": bias,
            "shift_labels": shift_labels,
            "label2id": None,
        }
        self.build(model)

    def output(self, loss: Tensor | None, logits: Tensor) -> ModelOutput:
        return Seq2SeqLMOutput(loss=loss, logits=logits)


class MaskedLMHead(LanguageModelingHead):
    """BERT's head; labels of -100, those of the tokens that were not masked, do not count."""

    head_type = "masked_lm"

    def __init__(
        self,
        model: Any,
        head_name: str,
        vocab_size: int | None = None,
        embedding_size: int | None = None,
        layers: int = 2,
        activation_function: str | None = "gelu",
        layer_norm: bool = True,
        bias: bool = True,
        shift_labels: bool = False,
    ) -> None:
        super().__init__(head_name)
        self.config = {
            "head_type": self.head_type,
            "vocab_size": vocab_size or tokens_of(model),
            "embedding_size": embedding_size or embedded_width(model.config),
            "layers": layers,
            "activation_function": activation_function,
            "layer_norm": layer_norm,
            "bias": bias,
            "shift_labels": shift_labels,
            "label2id": None,
        }
        self.build(model)

    def output(self, loss: Tensor | None, logits: Tensor) -> ModelOutput:
        return MaskedLMOutput(loss=loss, logits=logits)


def tokens_of(model: Any) -> int:
    """Return the size of the base's vocabulary, also while other embeddings are active."""
    return len(model.get_input_embeddings().weight)


def embedded_width(config: Any) -> int:
    """Return the width of the token embedding."""
    text = config.get_text_config()
    return int(getattr(text, "embedding_size", None) or text.hidden_size)


def ties_output(config: Any) -> bool:
    """Return whether models of this configuration project with their token embedding.

    T5's configuration always says so, and marks checkpoints that do not by not scaling their
    decoder's output.
    """
    # CLIP's towers have no head of their own, and so no word on it.
    tied = bool(getattr(config, "tie_word_embeddings", True))
    return tied and bool(getattr(config, "scale_decoder_outputs", True))


def _epsilon(config: Any) -> float:
    found = (getattr(config, name, None) for name in ("layer_norm_eps", "norm_eps"))
    return float(next((epsilon for epsilon in found if epsilon), 1e-12))
