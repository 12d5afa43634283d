"""What the library's own heads share: each kind of them says only in what it differs."""

from inspect import Parameter, Signature
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import HeadConfig, PredictionHead, label2id


def arguments(**defaults: Any) -> Signature:
    """Return the signature of a constructor: the model, the head's name, and these."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    optional = [Parameter(name, kind, default=default) for name, default in defaults.items()]
    return Signature([Parameter("model", kind), Parameter("head_name", kind), *optional])


class BuiltInHead(PredictionHead):
    """Its constructor takes what its configuration says, where `id2label` is called `label2id`.

    It gives a class for each vector that the layers are applied to; with a single label, a number.
    """

    takes: ClassVar[Signature]
    """The constructor's arguments."""
    output_class: ClassVar[type[ModelOutput]]
    seq2seq_output_class: ClassVar[type[ModelOutput] | None] = None
    """What transformers gives instead, for a model of an encoder and a decoder."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Somebody's subclass may have a constructor of its own.
        shown = None if "__init__" in vars(cls) else getattr(cls, "takes", None)
        cls.__signature__ = shown  # type: ignore[attr-defined]

    def __init__(self, model: Any, head_name: str, *values: Any, **fields: Any) -> None:
        super().__init__(head_name)
        given = self.takes.bind(model, head_name, *values, **fields)
        given.apply_defaults()
        _, _, *named = given.arguments.items()
        self.config = {"head_type": self.head_type, **self.described(model, dict(named))}
        self.build(model)

    def described(self, model: Any, fields: HeadConfig) -> HeadConfig:
        """Return what the configuration says of the fields."""
        count = fields["num_choices" if "num_choices" in fields else "num_labels"]
        labels = label2id(count, fields.pop("id2label"))
        return {**fields, "label2id": labels}

    def forward(  # type: ignore[override]
        self,
        outputs: ModelOutput,
        cls_output: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        logits = self.logits(outputs, cls_output)
        loss = None
        if labels is not None:
            loss = self.loss(logits, self.counted(labels, attention_mask))
        return self.made(outputs, loss=loss, logits=logits)

    def logits(self, outputs: ModelOutput, cls_output: Tensor | None) -> Tensor:
        read = self.summary(outputs, cls_output) if self.of_sequence else outputs[0]
        return self.through(read)

    def counted(self, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return labels of which those that do not count are -100."""
        return labels

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.shape[-1] == 1:
            return F.mse_loss(logits.view(-1), labels.view(-1).to(logits.dtype))
        return F.cross_entropy(logits, labels.view(-1))

    def made(self, outputs: ModelOutput, **parts: Any) -> ModelOutput:
        """Return an output of the class that transformers uses for a model of this kind."""
        two = self.seq2seq_output_class if "encoder_last_hidden_state" in outputs else None
        return (two or self.output_class)(**parts)
