"""Tensors of the heads of transformers' own classes, against those classes."""

import copy

import pytest
import transformers

from adapters_runtime.io.heads import static_head
from adapters_runtime.shapes import BaseDescription, expected_static_head_tensors
from tests.support.tiny_models import FIELDS, build_tiny

AUTO_CLASSES = {
    "classification": transformers.AutoModelForSequenceClassification,
    "tagging": transformers.AutoModelForTokenClassification,
    "question_answering": transformers.AutoModelForQuestionAnswering,
    "multiple_choice": transformers.AutoModelForMultipleChoice,
    "image_classification": transformers.AutoModelForImageClassification,
}
LABELS = 5
NOT_KNOWN = {
    # Options of the configuration decide over biases.
    *(f"ModernBertFor{task}" for task in ("SequenceClassification", "TokenClassification")),
    *(f"ModernBertFor{task}" for task in ("QuestionAnswering", "MultipleChoice")),
    # They have a base of another class, or none; their heads cannot be told from it.
    "CLIPForImageClassification",
    "T5ForQuestionAnswering",
    "MT5ForQuestionAnswering",
    # They answer with two numbers, whatever the configuration says.
    *(f"{name}ForQuestionAnswering" for name in ("Bart", "MBart", "GPTJ", "GPTNeoX")),
    *(f"{name}ForQuestionAnswering" for name in ("Llama", "Mistral", "Qwen2", "Qwen3")),
}
WITH_CLASSES = [
    (model_type, kind)
    for model_type in FIELDS
    for kind, auto in AUTO_CLASSES.items()
    if type(transformers.AutoConfig.for_model(model_type)) in auto._model_mapping
    # DeiT's head for images is built only from a configuration with a pooler's width.
    and (model_type, kind) != ("deit", "image_classification")
]


@pytest.mark.parametrize(("model_type", "kind"), WITH_CLASSES)
def test_a_head_that_a_class_is_built_with_has_the_tensors_expected(model_type, kind):
    base = build_tiny(model_type)
    config = copy.deepcopy(base.config)
    config.num_labels = 2 if kind == "question_answering" else LABELS
    model = AUTO_CLASSES[kind].from_config(config)
    tensors = {name: tuple(tensor.shape) for name, tensor in base.named_parameters()}
    described = BaseDescription(model_type, config.to_dict(), tensors)

    class_name = type(model).__name__
    expected = expected_static_head_tensors(class_name, config.num_labels, described)

    assert (expected is None) == (class_name in NOT_KNOWN)
    if expected is not None:
        found = static_head(model)
        assert expected == {key: tuple(tensor.shape) for key, tensor in found.items()}
