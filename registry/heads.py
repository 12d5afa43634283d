"""The two files of a prediction head, beside an adapter or in a folder of their own.

A head of a model class of transformers ("static") has no configuration: the class stands for it.
"""

from collections.abc import Mapping
from typing import Any

from adapters_runtime.errors import AdapterError
from adapters_runtime.shapes import (
    BaseDescription,
    expected_head_tensors,
    expected_static_head_tensors,
    head_type_of,
    tied_head_tensors,
)
from registry.errors import InvalidPackage
from registry.packages import Check, Package
from registry.schemas import HeadEntry
from registry.structure import Weights, compare, read_weights

CONFIG = "head_config.json"
WEIGHTS = "model_head.safetensors"

_LONGEST_NAME = 200
_MOST_LABELS = 1 << 20
_STATIC = ("model_class", "num_labels", "label2id")
"""What head_config.json says of a static head beside `"config": null`."""


def read(package: Package, base: BaseDescription | None, check: Check) -> HeadEntry | None:
    present = [file for file in (CONFIG, WEIGHTS) if file in package]
    if len(present) == 1:
        other = WEIGHTS if present == [CONFIG] else CONFIG
        check.problem(other, f"is missing, but there is {present[0]}; both or neither")
    if len(present) < 2:
        return None
    document = package.read_json(CONFIG)
    if _is_static(document):
        return _read_static(package, document, base, check)
    config, name = document.get("config"), local_name(document, CONFIG)
    if not isinstance(config, dict):
        check.problem(CONFIG, "config is missing, or no object; save the head again")
        return None
    if not isinstance(kind := config.get("head_type"), str):
        check.problem(CONFIG, f"config.head_type is {kind!r}, which names no kind of head")
        return None
    if weights := read_weights(package, WEIGHTS, check):
        _check_head(weights, name, config, base, check)
    outputs = config.get("num_labels")
    return HeadEntry(
        type=kind,
        outputs=outputs if type(outputs) is int else None,
        labels=_labels(config, check),
        configuration=config,
    )


def local_names(package: Package) -> tuple[str, ...]:
    """Return the name that the head's tensors carry, if there is a head that carries one."""
    if CONFIG not in package or _is_static(document := package.read_json(CONFIG)):
        return ()
    return (local_name(document, CONFIG),)


def _check_head(
    weights: Weights,
    name: str,
    config: Mapping[str, Any],
    base: BaseDescription | None,
    check: Check,
) -> None:
    if base is None:
        return
    try:
        expected = expected_head_tensors(name, config, base)
        tied = tied_head_tensors(name, config, base)
    except (AdapterError, ArithmeticError) as error:
        check.problem(CONFIG, f"config: {error}")
        return
    present = {key: shape for key, shape in tied.items() if key in weights.tensors}
    compare(weights, expected | present, check, source="the head's configuration")


def _is_static(document: Mapping[str, Any]) -> bool:
    return document.get("config") is None and isinstance(document.get("model_class"), str)


def _read_static(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> HeadEntry:
    class_name, labels = document["model_class"], _labels(document, check)
    outputs = document.get("num_labels")
    if type(outputs) is not int or not 0 < outputs <= _MOST_LABELS:
        check.problem(CONFIG, f"num_labels is {outputs!r}, and must be 1 to {_MOST_LABELS:,}")
    elif (weights := read_weights(package, WEIGHTS, check)) and base is not None:
        _check_static(weights, class_name, outputs, base, check)
    return HeadEntry(
        type=head_type_of(class_name) or class_name,
        outputs=outputs if type(outputs) is int else None,
        labels=labels,
        configuration={key: document.get(key) for key in _STATIC},
    )


def _check_static(
    weights: Weights, class_name: str, outputs: int, base: BaseDescription, check: Check
) -> None:
    expected = expected_static_head_tensors(class_name, outputs, base)
    if expected is None:
        text = f"the tensors of a {class_name} on {base.model_type} are not known: taken as given"
        check.warn(CONFIG, text)
        return
    compare(weights, expected, check, source=f"the head of {class_name}")


def _labels(config: Mapping[str, Any], check: Check) -> tuple[str, ...] | None:
    """Return the labels by class index, or None when they have only numbers."""
    ids = config.get("label2id")
    if ids is None:
        return None
    if not isinstance(ids, dict) or sorted(map(repr, ids.values())) != sorted(
        map(repr, range(len(ids)))
    ):
        check.problem(CONFIG, "label2id does not give the classes numbers from 0 upwards")
        return None
    labels = tuple(sorted(ids, key=ids.__getitem__))
    numbered = tuple(f"LABEL_{index}" for index in range(len(labels)))
    return None if labels == numbered else labels


def local_name(document: Mapping[str, Any], file: str) -> str:
    """Return the name that a file's tensors carry. Raises InvalidPackage."""
    name = document.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise InvalidPackage([f"{file}: name is {name!r}; it is the name that the tensors carry"])
    return name
