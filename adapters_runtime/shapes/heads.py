"""Tensors of the flexible prediction heads, from the head's configuration.

A projection to the vocabulary that is tied to the base's token embedding is no tensor of the head:
`expected_head_tensors` leaves it out, as the runtime does when it saves. AdapterHub's library saves
it all the same, and a head that was trained together with its embedding brings another one;
`tied_head_tensors` says which tensor a file may hold beside the expected ones.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from adapters_runtime.errors import ConfigError
from adapters_runtime.shapes.base import BaseDescription, Shape

_LABELLED = frozenset(
    {
        "audio_classification",
        "classification",
        "image_classification",
        "multilabel_classification",
        "question_answering",
        "tagging",
    }
)
_LANGUAGE_MODELS = frozenset({"causal_lm", "masked_lm", "seq2seq_lm"})

_MOST_LAYERS = 64

HEAD_TYPES = _LABELLED | _LANGUAGE_MODELS | {"dependency_parsing", "multiple_choice"}


def expected_head_tensors(
    name: str, config: Mapping[str, Any], base: BaseDescription
) -> dict[str, Shape]:
    """Return {key: shape} of what a head's file must hold; a tied projection is not among it.

    `config` is `config` of head_config.json. Raises ConfigError when it is not the configuration of
    a head that we know.
    """
    tied = tied_head_tensors(name, config, base)
    return {key: shape for key, shape in _all(name, config, base).items() if key not in tied}


def tied_head_tensors(
    name: str, config: Mapping[str, Any], base: BaseDescription
) -> dict[str, Shape]:
    """Return {key: shape} of the tied projection, which a head's file may hold or leave out.

    Empty for heads of other types, for bases that do not tie their own projection to their token
    embedding, and where the two have different shapes. Raises as `expected_head_tensors` does.
    """
    tensors = _all(name, config, base)
    if config.get("head_type") not in _LANGUAGE_MODELS or not base.ties_output:
        return {}
    key = next(key for key in reversed(tensors) if key.endswith(".weight"))
    return {key: tensors[key]} if tensors[key] == base.token_embedding else {}


def _all(name: str, config: Mapping[str, Any], base: BaseDescription) -> dict[str, Shape]:
    kind = config.get("head_type")
    if kind in _LANGUAGE_MODELS:
        tensors = _language_model(config, base)
    elif kind == "multiple_choice":
        tensors = _classifier(config, base.output_width, 1)
    elif kind == "dependency_parsing":
        tensors = _parser(base.output_width, _number(config, "num_labels"))
    elif kind in _LABELLED:
        tensors = _classifier(config, base.output_width, _number(config, "num_labels"))
    else:
        raise ConfigError(
            f"head_type is {kind!r}, and must be one of {', '.join(sorted(HEAD_TYPES))}"
        )
    return {f"heads.{name}.{key}": shape for key, shape in tensors}


def _parser(width: int, relations: int) -> Iterator[tuple[str, Shape]]:
    """Yield the biaffine maps: of the arcs with one bias, of the relations with two."""
    yield "biaffine_arcs.weight", (1, width + 1, width)
    yield "biaffine_rels.weight", (relations, width + 1, width + 1)


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
        yield f"{at}.weight", (narrow, width if layer == 0 else narrow)
        yield f"{at}.bias", (narrow,)
        at += 2 if config.get("activation_function") else 1
        if config.get("layer_norm"):
            yield f"{at}.weight", (narrow,)
            yield f"{at}.bias", (narrow,)
            at += 1
    vocabulary = _number(config, "vocab_size")
    yield f"{at}.weight", (vocabulary, narrow if layers > 1 else width)
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
