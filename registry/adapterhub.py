"""Reading a folder in AdapterHub's format, as far as the registry needs to understand it."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters_runtime.architectures import halves
from adapters_runtime.configs import AdapterConfig, numbering, signature
from adapters_runtime.configs.legacy import upgrade_document
from adapters_runtime.errors import AdapterError
from adapters_runtime.shapes import (
    BaseDescription,
    Shape,
    expected_tensors,
    originals,
)
from registry import heads
from registry.errors import InvalidPackage
from registry.heads import local_name
from registry.packages import Check, Package
from registry.schemas import HeadEntry, Kind, Signature
from registry.structure import Weights, compare, read_weights

CONFIG = "adapter_config.json"
WEIGHTS = "adapter.safetensors"

_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
# Under these the format keeps everything by the adapter's local name.
_CONTAINERS = (
    "adapters|invertible_adapters|shared_parameters|loras|prefix_tunings|prefix_gates|refts"
    "|prompt_tunings|embedding_rows|heads|adapter_fusion_layer"
)


@dataclass(frozen=True, kw_only=True)
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
    copies: Mapping[str, str] = field(default_factory=dict)
    """Tensor -> the one that it repeats; files of ours have none, AdapterHub's some."""
    kind: Kind | None = None
    """What such a folder always holds; None where only hub_adapter.json can tell."""


def read(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> Contents:
    """Read the folder and compare its tensors with what its configuration calls for.

    `document` is adapter_config.json. Raises InvalidPackage where there is no going on; what else
    is wrong is noted in `check`.
    """
    config, name = _configuration(document), local_name(document, CONFIG)
    if base is not None:
        check_model(document, base, CONFIG, check)
        config = numbering.read_from(config, document, _halves(base))
    if WEIGHTS not in package:
        check.problem(WEIGHTS, "is missing; save the adapter with use_safetensors=True")
    copies: dict[str, str] = {}
    if weights := read_weights(package, WEIGHTS, check) if WEIGHTS in package else None:
        copies = originals(weights.tensors)
        _check_adapter(weights.without(copies), name, config, base, check)
    head = heads.read(package, base, check)
    offered = _signature(config, base, check)
    return Contents(
        layout="adapterhub",
        method=str(offered.method),
        configuration=config.to_dict(),
        model_type=base.model_type if base else _text(document.get("model_type")),
        signature=offered,
        head=head,
        weights=tuple(file for file in (WEIGHTS, heads.WEIGHTS) if file in package),
        local_names=tuple({name, *heads.local_names(package)}),
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


def _halves(base: BaseDescription) -> tuple[int, ...]:
    try:
        return halves(base.layers)
    except AdapterError:  # which the comparison of tensors notes
        return ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def check_model(
    document: Mapping[str, Any], base: BaseDescription, file: str, check: Check
) -> None:
    """Note where a folder's description and its base disagree."""
    model_type = document.get("model_type")
    if model_type not in (None, base.model_type):
        check.problem(file, f"model_type is {model_type!r}, that of the base {base.model_type!r}")
    widths = [base.config[key] for key in _WIDTHS if key in base.config]
    if widths and (width := document.get("hidden_size")) not in [None, *widths]:
        check.problem(file, f"hidden_size is {width!r}, that of the base {widths[0]!r}")


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
    compare(weights, as_in_file(expected, weights.tensors, prefix), check, source=source)


def as_in_file(
    expected: Mapping[str, Shape], found: Collection[str], prefix: str
) -> dict[str, Shape]:
    """Return expected tensors of a base under the names that the file uses.

    Files of models without a head have no prefix, since such a model is its own base.
    """
    usual = prefix if any(name.startswith(prefix) for name in found) else ""
    return {
        next((n for n in (name, prefix + name) if n in found), usual + name): shape
        for name, shape in expected.items()
    }


def _signature(config: AdapterConfig, base: BaseDescription | None, check: Check) -> Signature:
    """Return what the configuration says; the layers follow only from configuration and base."""
    try:
        known = signature(config, len(base.layers) if base else 0)
    except AdapterError as error:
        check.problem(CONFIG, f"config: {error}")
        return Signature()
    return Signature.model_validate(known | ({} if base else {"layers": None}))
