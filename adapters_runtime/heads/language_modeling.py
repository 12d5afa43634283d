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

from adapters_runtime.heads.base import HeadConfig, aligned, cross_entropy
from adapters_runtime.heads.built_in import BuiltInHead, arguments
from adapters_runtime.methods.activations import Activation


class LanguageModelingHead(BuiltInHead):
    """Linear, activation and norm for each layer but the last, then the projection."""

    def described(self, model: Any, fields: HeadConfig) -> HeadConfig:
        """Return the fields; sizes that were not given are the base's."""
        sizes = {"vocab_size": tokens_of(model), "embedding_size": embedded_width(model.config)}
        own = {name: fields[name] or size for name, size in sizes.items() if name in fields}
        return {**fields, **own, "label2id": None}

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
        """Put another projection last; `resize_token_embeddings` makes one for more tokens."""
        self[-1] = projection
        self.config["vocab_size"] = len(projection.weight)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        labels = aligned(labels, logits.shape[1])
        if self.config["shift_labels"]:
            logits, labels = logits[:, :-1], labels[:, 1:]
        return cross_entropy(logits, labels)


class CausalLMHead(LanguageModelingHead):
    """Predicts the next token: the logits at a position are held against the label of the next."""

    head_type = "causal_lm"
    takes = arguments(
        vocab_size=None,
        embedding_size=None,
        layers=1,
        activation_function=None,
        layer_norm=False,
        bias=False,
        shift_labels=True,
        dropout_prob=None,
    )
    output_class = CausalLMOutputWithPast


class Seq2SeqLMHead(LanguageModelingHead):
    """Predicts the next token of the decoder's text, whose input is the labels moved by one."""

    head_type = "seq2seq_lm"
    takes = arguments(
        vocab_size=None,
        layers=1,
        activation_function=None,
        layer_norm=False,
        bias=False,
        shift_labels=False,
    )
    output_class = Seq2SeqLMOutput


class MaskedLMHead(LanguageModelingHead):
    """BERT's head; labels of -100, those of the tokens that were not masked, do not count."""

    head_type = "masked_lm"
    takes = arguments(
        vocab_size=None,
        embedding_size=None,
        layers=2,
        activation_function="gelu",
        layer_norm=True,
        bias=True,
        shift_labels=False,
    )
    output_class = MaskedLMOutput


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
