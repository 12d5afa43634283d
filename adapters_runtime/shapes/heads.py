"""Tensors of the flexible prediction heads, from the head's configuration."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapters_runtime.errors import ConfigError
from adapters_runtime.shapes.base import BaseDescription, Shape

_LABELLED = frozenset(
    {
        "classification",
        "image_classification",
        "multilabel_classification",
        "question_answering",
        "tagging",
    }
)
_LANGUAGE_MODELS = frozenset({"causal_lm", "masked_lm", "seq2seq_lm"})

_MOST_LAYERS = 64

HEAD_TYPES = _LABELLED | _LANGUAGE_MODELS | {"multiple_choice"}


def expected_head_tensors(
    name: str, config: Mapping[str, Any], base: BaseDescription
) -> dict[str, Shape]:
    """Return {key: shape} of a head's file; `config` is `config` of head_config.json.

    Raises ConfigError when it is not the configuration of a head that we know.
    """
    kind = config.get("head_type")
    if kind in _LANGUAGE_MODELS:
        tensors = _language_model(config, base)
    elif kind == "multiple_choice":
        tensors = _classifier(config, base.output_width, 1)
    elif kind in _LABELLED:
        tensors = _classifier(config, base.output_width, _number(config, "num_labels"))
    else:
        raise ConfigError(
            f"head_type is {kind!r}, and must be one of {', '.join(sorted(HEAD_TYPES))}"
        )
    return {f"heads.{name}.{key}": shape for key, shape in tensors}


def _classifier(config: Mapping[str, Any], width: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    """Yield the linear maps of (dropout, linear, activation) * layers, without the last one's."""
    layers = _layers(config)
    step = 3 if config.get("activation_function") else 2
    for layer in range(layers):
        last = layer == layers - 1
        at = layer * step + 1
        yield f"{at}.weight", (outputs if last else width, width)
        if not last or config.get("bias", True):
            yield f"{at}.bias", (outputs if last else width,)


def _language_model(
    config: Mapping[str, Any], base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield the maps and norms of (linear, activation, norm) * (layers - 1), then the decoder's."""
    width = base.output_width
    narrow = _number(config, "embedding_size", width)
    layers = _layers(config)
    at = 0
    for layer in range(layers - 1):
        outputs = narrow if layer == layers - 2 else width
        yield f"{at}.weight", (outputs, width)
        yield f"{at}.bias", (outputs,)
        at += 2 if config.get("activation_function") else 1
        if config.get("layer_norm"):
            yield f"{at}.weight", (outputs,)
            yield f"{at}.bias", (outputs,)
            at += 1
    vocabulary = _number(config, "vocab_size")
    yield f"{at}.weight", (vocabulary, narrow)
    if config.get("bias", True):
        yield f"{at}.bias", (vocabulary,)


def _layers(config: Mapping[str, Any]) -> int:
    layers = _number(config, "layers")
    if layers > _MOST_LAYERS:
        raise ConfigError(f"a head has at most {_MOST_LAYERS} layers, not {layers}")
    return layers


def _number(config: Mapping[str, Any], field: str, default: int | None = None) -> int:
    value = config.get(field, default)
    if type(value) is not int or value < 1:
        raise ConfigError(f"{field} of the head must be a whole number above 0, not {value!r}")
    return value
