"""Reading a folder in AdapterHub's format, as far as the registry needs to understand it."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from adapters_runtime.configs import AdapterConfig, signature
from adapters_runtime.configs.legacy import upgrade_document
from adapters_runtime.errors import AdapterError
from adapters_runtime.shapes import (
    BaseDescription,
    Shape,
    expected_head_tensors,
    expected_tensors,
    tied_head_tensors,
    without_copies,
)
from registry.errors import InvalidPackage
from registry.packages import Check, Package
from registry.schemas import HeadEntry, Signature
from registry.structure import Weights, compare, read_weights

CONFIG = "adapter_config.json"
WEIGHTS = "adapter.safetensors"
HEAD_CONFIG = "head_config.json"
HEAD_WEIGHTS = "model_head.safetensors"

_LONGEST_NAME = 200
_POOL, _NORM = "prefix_tuning.", ".adapter_norm_before."
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
# Under these the format keeps everything by the adapter's local name.
_CONTAINERS = (
    "adapters|invertible_adapters|shared_parameters|loras|prefix_tunings|prefix_gates|refts"
    "|prompt_tunings|embedding_rows|heads"
)


@dataclass(frozen=True)
class Contents:
    """What a layout's reader makes of a folder."""

    layout: str
    method: str
    configuration: dict[str, Any]
    model_type: str | None
    signature: Signature
    """What follows from the configuration; fields that do not follow from it are None."""
    head: HeadEntry | None
    weights: tuple[str, ...]
    """The files whose tensors belong to the adapter."""
    local_names: tuple[str, ...]
    """Names that tensors carry; another choice of them makes no other adapter."""
    copies: Mapping[str, str]
    """Tensor -> the one that it repeats; files of ours have none, AdapterHub's some."""


def read(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> Contents:
    """Read the folder and compare its tensors with what its configuration calls for.

    `document` is adapter_config.json. Raises InvalidPackage where there is no going on; what else
    is wrong is noted in `check`.
    """
    config, name = _configuration(document), _local_name(document)
    if base is not None:
        _check_model(document, base, check)
    if WEIGHTS not in package:
        check.problem(WEIGHTS, "is missing; save the adapter with use_safetensors=True")
    copies: dict[str, str] = {}
    if weights := read_weights(package, WEIGHTS, check) if WEIGHTS in package else None:
        copies = _copies(weights.tensors)
        _check_adapter(weights.without(copies), name, config, base, check)
    head = _read_head(package, base, check)
    offered = _signature(config, base, check)
    return Contents(
        layout="adapterhub",
        method=str(offered.method),
        configuration=config.to_dict(),
        model_type=base.model_type if base else _text(document.get("model_type")),
        signature=offered,
        head=head,
        weights=tuple(file for file in (WEIGHTS, HEAD_WEIGHTS) if file in package),
        local_names=tuple({name, *_head_name(package)}),
        copies=copies,
    )


def star(tensor: str, local_names: Collection[str]) -> str:
    """Return a tensor's name with `*` for the adapter's local name.

    >>> star("encoder.layer.0.output.adapters.my.lang.adapter_up.bias", ["my.lang"])
    'encoder.layer.0.output.adapters.*.adapter_up.bias'
    """
    for name in local_names:
        tensor = re.sub(rf"\b({_CONTAINERS})\.{re.escape(name)}(?=\.|$)", r"\1.*", tensor)
    return tensor


def _configuration(document: Mapping[str, Any]) -> AdapterConfig:
    if not isinstance(document.get("config"), dict):
        raise InvalidPackage([f"{CONFIG}: config is missing, or no object; save the adapter again"])
    try:
        # Not load_config: that would take a text for a path, and the path would be the server's.
        return AdapterConfig.from_dict(upgrade_document(document))
    except AdapterError as error:
        raise InvalidPackage([f"{CONFIG}: config: {error}"]) from error


def _local_name(document: Mapping[str, Any], file: str = CONFIG) -> str:
    name = document.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise InvalidPackage([f"{file}: name is {name!r}; it is the name that the tensors carry"])
    return name


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _check_model(document: Mapping[str, Any], base: BaseDescription, check: Check) -> None:
    model_type = document.get("model_type")
    if model_type not in (None, base.model_type):
        check.problem(CONFIG, f"model_type is {model_type!r}, that of the base {base.model_type!r}")
    widths = [base.config[key] for key in _WIDTHS if key in base.config]
    if widths and (width := document.get("hidden_size")) not in [None, *widths]:
        check.problem(CONFIG, f"hidden_size is {width!r}, that of the base {widths[0]!r}")


def _check_adapter(
    weights: Weights, name: str, config: AdapterConfig, base: BaseDescription | None, check: Check
) -> None:
    if base is None:
        return
    try:
        expected = expected_tensors(name, config, base)
        prefix = f"{base.architecture.base_prefix}."
    except (AdapterError, ArithmeticError) as error:
        check.problem(CONFIG, f"config: {error}")
        return
    source = f"the configuration, on this {base.model_type},"
    compare(weights, _as_in_file(expected, weights.tensors, prefix), check, source=source)


def _as_in_file(
    expected: Mapping[str, Shape], found: Collection[str], prefix: str
) -> dict[str, Shape]:
    """Return the expected tensors under the names that the file uses.

    Files of models without a head have no prefix, since such a model is its own base.
    """
    usual = prefix if any(name.startswith(prefix) for name in found) else ""
    return {
        next((n for n in (name, prefix + name) if n in found), usual + name): shape
        for name, shape in expected.items()
    }


def _copies(names: Collection[str]) -> dict[str, str]:
    """Return, for each second name under which AdapterHub saves a tensor, the first one."""
    kept = without_copies(names)
    pools = {name[name.find(_POOL) :]: name for name in kept if _POOL in name}
    originals = {}
    for copy in set(names).difference(kept):
        _, pool, tail = copy.partition(f".{_POOL}pool.")
        first = pools.get(_POOL + tail) if pool else copy.replace(".adapter_down.0.", _NORM)
        if first is not None:
            originals[copy] = first
    return originals


def _signature(config: AdapterConfig, base: BaseDescription | None, check: Check) -> Signature:
    """Return what the configuration says; the layers follow only from configuration and base."""
    try:
        known = signature(config, len(base.layers) if base else 0)
    except AdapterError as error:
        check.problem(CONFIG, f"config: {error}")
        return Signature()
    return Signature.model_validate(known | ({} if base else {"layers": None}))


# --- head ----------------------------------------------------------------------------------------


def _read_head(package: Package, base: BaseDescription | None, check: Check) -> HeadEntry | None:
    present = [file for file in (HEAD_CONFIG, HEAD_WEIGHTS) if file in package]
    if len(present) == 1:
        other = HEAD_WEIGHTS if present == [HEAD_CONFIG] else HEAD_CONFIG
        check.problem(other, f"is missing, but there is {present[0]}; both or neither")
    if len(present) < 2:
        return None
    document = package.read_json(HEAD_CONFIG)
    config, name = document.get("config"), _local_name(document, HEAD_CONFIG)
    if not isinstance(config, dict):
        check.problem(HEAD_CONFIG, "config is missing, or no object; save the head again")
        return None
    if not isinstance(kind := config.get("head_type"), str):
        check.problem(HEAD_CONFIG, f"config.head_type is {kind!r}, which names no kind of head")
        return None
    if weights := read_weights(package, HEAD_WEIGHTS, check):
        _check_head(weights, name, config, base, check)
    outputs = config.get("num_labels")
    return HeadEntry(
        type=kind,
        outputs=outputs if type(outputs) is int else None,
        labels=_labels(config, check),
        configuration=config,
    )


def _head_name(package: Package) -> tuple[str, ...]:
    if HEAD_CONFIG not in package:
        return ()
    return (_local_name(package.read_json(HEAD_CONFIG), HEAD_CONFIG),)


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
        check.problem(HEAD_CONFIG, f"config: {error}")
        return
    present = {key: shape for key, shape in tied.items() if key in weights.tensors}
    compare(weights, expected | present, check, source="the head's configuration")


def _labels(config: Mapping[str, Any], check: Check) -> tuple[str, ...] | None:
    """Return the labels by class index, or None when they have only numbers."""
    ids = config.get("label2id")
    if ids is None:
        return None
    if not isinstance(ids, dict) or sorted(map(repr, ids.values())) != sorted(
        map(repr, range(len(ids)))
    ):
        check.problem(HEAD_CONFIG, "label2id does not give the classes numbers from 0 upwards")
        return None
    labels = tuple(sorted(ids, key=ids.__getitem__))
    numbered = tuple(f"LABEL_{index}" for index in range(len(labels)))
    return None if labels == numbered else labels
