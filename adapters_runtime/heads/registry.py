"""Which heads there are, and which of them an architecture offers."""

from collections.abc import Mapping
from typing import Any

from adapters_runtime.architectures import Architecture
from adapters_runtime.errors import ConfigError, UnsupportedHead
from adapters_runtime.heads.audio_classification import AudioClassificationHead
from adapters_runtime.heads.base import HeadConfig, PredictionHead
from adapters_runtime.heads.classification import (
    ClassificationHead,
    MultiLabelClassificationHead,
)
from adapters_runtime.heads.dependency_parsing import BiaffineParsingHead
from adapters_runtime.heads.image_classification import ImageClassificationHead
from adapters_runtime.heads.language_modeling import CausalLMHead, MaskedLMHead, Seq2SeqLMHead
from adapters_runtime.heads.multiple_choice import MultipleChoiceHead
from adapters_runtime.heads.question_answering import QuestionAnsweringHead
from adapters_runtime.heads.tagging import TaggingHead
from adapters_runtime.io.heads import named_labels

Heads = Mapping[str, type[PredictionHead]]

_NAMED_APART = frozenset({"head_type", "label2id", "id2label"})
_OF_TEXTS = (ClassificationHead, MultiLabelClassificationHead, QuestionAnsweringHead)
_ENCODER = (TaggingHead, MultipleChoiceHead, BiaffineParsingHead, MaskedLMHead, CausalLMHead)


def offered_heads(architecture: Architecture) -> Heads:
    """Return the heads for models of this architecture, by type.

    Images are classified. An encoder sees the whole text at each token, so its tokens can be
    compared, parsed and filled in; a decoder's last token has seen all before it. Of two encoders
    side by side (CLIP) neither has the last word.
    """
    roles = [stack.role for stack in architecture.stacks]
    if architecture.token_embedding is None:
        return _by_type(ImageClassificationHead)
    if roles == ["encoder"]:
        return _by_type(*_OF_TEXTS, *_ENCODER)
    if roles == ["decoder"]:
        return _by_type(*_OF_TEXTS, TaggingHead, CausalLMHead)
    if roles == ["encoder", "decoder"]:
        if hears(architecture):
            return _by_type(Seq2SeqLMHead, AudioClassificationHead)
        return _by_type(*_OF_TEXTS, Seq2SeqLMHead)
    return {}


def hears(architecture: Architecture) -> bool:
    """Return whether the encoder has no tokens to read, only the decoder has."""
    token = architecture.token_embedding or ""
    return not architecture.token_lookups and token.startswith("decoder.")


def head_class(heads: Heads, model_type: str, head_type: Any) -> type[PredictionHead]:
    """Return the class of a head by its type; raises UnsupportedHead."""
    if not isinstance(head_type, str) or head_type not in heads:
        raise UnsupportedHead(model_type, str(head_type), tuple(heads))
    return heads[head_type]


def build_head(cls: Any, model: Any, name: str, config: HeadConfig) -> Any:
    """Build a head from its configuration; raises ConfigError where that cannot be one of its."""
    fields = {key: value for key, value in config.items() if key not in _NAMED_APART}
    if named := named_labels(config):
        fields["id2label"] = named
    try:
        return cls(model, name, **fields)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"head {name!r} cannot be built from {fields}: {error}") from error


def _by_type(*heads: type[PredictionHead]) -> Heads:
    return {head.head_type: head for head in heads}
