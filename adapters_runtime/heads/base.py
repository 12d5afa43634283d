"""What all prediction heads share: layers over a base model's hidden states.

A head's modules are numbered as AdapterHub's files number them: dropout, linear and activation for
each layer but the last, then dropout and the projection.
"""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils.generic import ModelOutput

from adapters_runtime.errors import ConfigError
from adapters_runtime.methods.activations import Activation

HeadConfig = dict[str, Any]
"""`config` of head_config.json: head_type, num_labels, layers, activation_function, ..."""

IGNORED = -100
"""The label that counts for no loss."""


class PredictionHead(nn.Sequential):
    """Base of all heads, also of those that users write.

    The constructor takes (model, name, **fields), sets `config` to what its file shall say and
    calls `build`. `forward` takes the base model's output, the vector that stands for the
    sequence, (batch, width), the attention mask, `return_dict`, which is always True, and what
    else the head names as parameters (`labels`): callers of the model pass these by their names.
    """

    head_type: ClassVar[str]
    of_sequence: ClassVar[bool] = False
    """Whether it decides on the vector that stands for the sequence."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.config: HeadConfig = {}
        self.brings_table = False
        """Whether its projection is the token embedding too, while the head is active."""

    def build(self, model: Any) -> None:
        """Add the layers that `config` asks for, like the base's in device, dtype and mode."""
        width = model.config.get_text_config().hidden_size
        rate = dropout_rate(self.config, model.config)
        activation = self.config.get("activation_function")
        for _ in range(self.config["layers"] - 1):
            self.append(nn.Dropout(rate))
            self.append(nn.Linear(width, width))
            if activation:
                self.append(Activation(activation))
        self.append(nn.Dropout(rate))
        self.append(nn.Linear(width, self.outputs(width), bias=self.config.get("bias", True)))
        self.settle(model)

    def through(self, x: Tensor) -> Tensor:
        """Apply the layers, (..., width) -> (..., numbers)."""
        for layer in self:
            x = layer(x)
        return x

    def outputs(self, width: int) -> int:
        """Return how many numbers the last layer gives, for a base of this width."""
        return int(self.config.get("num_labels", width))

    def settle(self, model: Any) -> None:
        """Initialise the parameters as the base's, and join its device, dtype and mode."""
        std = getattr(model.config, "initializer_range", 0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        near = next(model.base_model.parameters())
        self.to(near.device, near.dtype)
        self.train(model.training)

    @property
    def rows_per_label(self) -> int:
        """How many rows of the base's output share one label."""
        return 1

    def get_output_embeddings(self) -> nn.Linear | None:
        """Return the projection to the vocabulary, of a language modelling head."""
        return None

    def get_label_names(self) -> list[str]:
        """Return the arguments of `forward` that hold what is to be predicted."""
        return ["labels"]

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the inputs as the base needs them for this head."""
        return inputs

    @property
    def id2label(self) -> dict[int, str]:
        """The names of the classes in the order of their numbers; files sort them by name."""
        labels: Mapping[str, int] = self.config.get("label2id") or {}
        return dict(sorted((index, label) for label, index in labels.items()))

    def summary(self, outputs: ModelOutput, cls_output: Tensor | None) -> Tensor:
        """Return what stands for the sequence: the pooler's output, if the head wants that."""
        if not self.config.get("use_pooler"):
            assert cls_output is not None
            return cls_output
        pooled: Tensor | None = outputs.get("pooler_output")
        if pooled is None:
            raise ConfigError(f"head {self.name!r} uses a pooler, but the base model has none")
        return pooled


def label2id(count: int, id2label: Mapping[int, str] | None) -> dict[str, int]:
    """Return {label: index}; labels without a name are called LABEL_0, LABEL_1, ..."""
    labels = id2label or {index: f"LABEL_{index}" for index in range(count)}
    return {label: int(index) for index, label in labels.items()}


def own_inputs(head: type[PredictionHead]) -> tuple[str, ...]:
    """Return the arguments that a kind of head takes beside what every head is given."""
    given = {"self", "outputs", "cls_output", "attention_mask", "return_dict"}
    parameters = inspect.signature(head.forward).parameters.values()
    return tuple(p.name for p in parameters if p.name not in given and p.kind is not p.VAR_KEYWORD)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the positions, (..., length, classes) against (..., length)."""
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)


def aligned(labels: Tensor, length: int) -> Tensor:
    """Return labels for `length` positions: tokens put before the text by a prompt have none."""
    missing = length - labels.shape[-1]
    return F.pad(labels, (missing, 0), value=IGNORED) if missing > 0 else labels


def dropout_rate(config: HeadConfig, model_config: Any) -> float:
    """Return the head's own rate of dropout, or the base's under the name it has there."""
    names = (
        "classifier_dropout",
        "hidden_dropout_prob",
        "dropout_rate",
        "resid_pdrop",
        "dropout",
        "attention_dropout",
    )
    rates = [config.get("dropout_prob"), *(getattr(model_config, name, None) for name in names)]
    return float(next((rate for rate in rates if rate is not None), 0.0))
