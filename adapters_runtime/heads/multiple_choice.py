"""The best of several continuations; each is a sequence of its own."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import MultipleChoiceModelOutput
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import PredictionHead, label2id


class MultipleChoiceHead(PredictionHead):
    """Scores each choice. Inputs are (batch, choices, length), or have the two in one dimension."""

    head_type = "multiple_choice"
    of_sequence = True

    def __init__(
        self,
        model: Any,
        head_name: str,
        num_choices: int = 2,
        layers: int = 2,
        activation_function: str | None = "tanh",
        id2label: Mapping[int, str] | None = None,
        use_pooler: bool = False,
        dropout_prob: float | None = None,
    ) -> None:
        super().__init__(head_name)
        self.config = {
            "head_type": self.head_type,
            "num_choices": num_choices,
            "layers": layers,
            "activation_function": activation_function,
            "label2id": label2id(num_choices, id2label),
            "use_pooler": use_pooler,
            "dropout_prob": dropout_prob,
        }
        self.build(model)

    @property
    def rows_per_label(self) -> int:
        return int(self.config["num_choices"])

    def outputs(self, width: int) -> int:
        return 1

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: _one_batch(name, value) for name, value in inputs.items()}

    def forward(  # type: ignore[override]
        self,
        outputs: ModelOutput,
        cls_output: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        scores = self.through(self.summary(outputs, cls_output))  # (batch * choices, 1)
        logits = scores.view(-1, self.config["num_choices"])
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return MultipleChoiceModelOutput(loss=loss, logits=logits)


def _one_batch(name: str, value: Any) -> Any:
    dims = 4 if name == "inputs_embeds" else 3
    return value.flatten(0, 1) if isinstance(value, Tensor) and value.dim() == dims else value
