"""Prediction heads. Their classes are imported when they are first used, for some need torch."""

from importlib import import_module
from typing import Any

_HOMES = {
    "AudioClassificationHead": "audio_classification",
    "AutoAdapterModel": "auto",
    "BiaffineParsingHead": "dependency_parsing",
    "CausalLMHead": "language_modeling",
    "ClassificationHead": "classification",
    "ImageClassificationHead": "image_classification",
    "MaskedLMHead": "language_modeling",
    "MultiHeadOutput": "selection",
    "MultiLabelClassificationHead": "classification",
    "MultipleChoiceHead": "multiple_choice",
    "PredictionHead": "base",
    "QuestionAnsweringHead": "question_answering",
    "Seq2SeqLMHead": "language_modeling",
    "TaggingHead": "tagging",
}
_OTHER_NAMES = {"BertStyleMaskedLMHead": "MaskedLMHead"}
"""What AdapterHub's library calls a head."""

__all__ = sorted({**_HOMES, **_OTHER_NAMES})  # noqa: PLE0605  (derived, so that it cannot drift)


def __getattr__(name: str) -> Any:
    today = _OTHER_NAMES.get(name, name)
    if today not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[today]}"), today)
