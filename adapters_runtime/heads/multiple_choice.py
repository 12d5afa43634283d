"""The best of several continuations; each is a sequence of its own."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import MultipleChoiceModelOutput
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.built_in import BuiltInHead, arguments


class MultipleChoiceHead(BuiltInHead):
    """Scores each choice. Inputs are (batch, choices, length), or have the two in one dimension."""

    head_type = "multiple_choice"
    of_sequence = True
    takes = arguments(
        num_choices=2,
        layers=2,
        activation_function="tanh",
        id2label=None,
        use_pooler=False,
        dropout_prob=None,
    )
    output_class = MultipleChoiceModelOutput

    @property
    def rows_per_label(self) -> int:
        return int(self.config["num_choices"])

    def outputs(self, width: int) -> int:
        return 1

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: _one_batch(name, value) for name, value in inputs.items()}

    def logits(self, outputs: ModelOutput, cls_output: Tensor | None) -> Tensor:
        scores = super().logits(outputs, cls_output)  # (batch * choices, 1)
        return scores.view(-1, self.config["num_choices"])

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)


def _one_batch(name: str, value: Any) -> Any:
    dims = 4 if name == "inputs_embeds" else 3
    return value.flatten(0, 1) if isinstance(value, Tensor) and value.dim() == dims else value
