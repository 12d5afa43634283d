"""The span of the text that answers a question."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import (
    QuestionAnsweringModelOutput,
    Seq2SeqQuestionAnsweringModelOutput,
)
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.built_in import BuiltInHead
from adapters_runtime.heads.tagging import TaggingHead


class QuestionAnsweringHead(BuiltInHead):
    """Scores each token as the first and as the last one of the answer."""

    head_type = "question_answering"
    takes = TaggingHead.takes
    output_class = QuestionAnsweringModelOutput
    seq2seq_output_class = Seq2SeqQuestionAnsweringModelOutput

    def get_label_names(self) -> list[str]:
        return ["start_positions", "end_positions"]

    def forward(  # type: ignore[override]
        self,
        outputs: ModelOutput,
        cls_output: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool = True,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> ModelOutput:
        start, end = self.through(outputs[0]).unbind(dim=-1)  # each (batch, length)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (_loss(start, start_positions) + _loss(end, end_positions)) / 2
        return self.made(outputs, loss=loss, start_logits=start, end_logits=end)


def _loss(logits: Tensor, positions: Tensor) -> Tensor:
    # An answer outside the text, cut off for its length, does not count.
    outside = logits.shape[1]
    return F.cross_entropy(logits, positions.view(-1).clamp(0, outside), ignore_index=outside)
