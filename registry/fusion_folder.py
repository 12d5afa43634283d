"""Reading the folder of a fusion: its weights, and the adapters that it was trained over."""

from collections.abc import Mapping
from typing import Any

from adapters_runtime.configs import AdapterFusionConfig
from adapters_runtime.errors import AdapterError
from adapters_runtime.shapes import BaseDescription, fused_points, fusion_tensors_at
from registry.adapterhub import Contents, as_in_file, check_model
from registry.errors import InvalidPackage
from registry.packages import Check, Package
from registry.schemas import HubAdapterFile, Signature
from registry.structure import Weights, compare, read_weights

CONFIG = "adapter_fusion_config.json"
WEIGHTS = "model_adapter_fusion.safetensors"

_CONTAINER = ".adapter_fusion_layer."
_MOST_MEMBERS = 256


def read(
    package: Package, document: Mapping[str, Any], base: BaseDescription | None, check: Check
) -> Contents:
    """Read the folder and compare its tensors; `document` is adapter_fusion_config.json.

    Raises InvalidPackage where there is no going on.
    """
    config, members = _configuration(document), _members(document)
    given = document.get("name")
    name = given if isinstance(given, str) and given else ",".join(members)
    if base is not None:
        check_model(document, base, CONFIG, check)
    weights = None
    if WEIGHTS in package:
        weights = read_weights(package, WEIGHTS, check)
    else:
        check.problem(WEIGHTS, "is missing; save the fusion with use_safetensors=True")
    sites: set[str] = set()
    if weights is not None and base is not None:
        sites = _sites(weights, base)
        _compare(weights, name, config, sites, base, check)
    known = base is not None and bool(sites)
    return Contents(
        layout="adapterhub",
        kind="fusion",
        method="fusion",
        configuration={"fusion": config.to_dict(), "members": list(members)},
        model_type=base.model_type if base else None,
        signature=Signature(
            method="fusion",
            layers=tuple(range(len(base.layers))) if base else None,
            points=tuple(fused_points(sites)) if known else None,
        ),
        head=None,
        weights=(WEIGHTS,) if WEIGHTS in package else (),
        local_names=(name,),
    )


def check_members(contents: Contents, hub: HubAdapterFile, file: str, check: Check) -> None:
    """Note where hub_adapter.json and the fusion's own file disagree on its members."""
    members = contents.configuration["members"]
    stated = hub.setup.get("Fuse") if isinstance(hub.setup, dict) else None
    if stated is not None and stated != members:
        check.problem(file, f"setup fuses {stated}, {CONFIG} names {members}")
    for member in members:
        if member not in hub.requires:
            check.warn(file, f"requires.{member} is missing: which adapter it was is unknown")


def _configuration(document: Mapping[str, Any]) -> AdapterFusionConfig:
    try:
        config = AdapterFusionConfig.load(document.get("config"))
    except AdapterError as error:
        raise InvalidPackage([f"{CONFIG}: config: {error}"]) from error
    assert isinstance(config, AdapterFusionConfig)
    return config


def _members(document: Mapping[str, Any]) -> list[str]:
    members = document.get("adapter_names")
    if isinstance(members, str):
        members = members.split(",")
    if not isinstance(members, list) or not all(isinstance(m, str) and m for m in members):
        raise InvalidPackage([f"{CONFIG}: adapter_names is no list of names: {members!r}"])
    if not 1 < len(members) <= _MOST_MEMBERS or len(set(members)) < len(members):
        raise InvalidPackage(
            [f"{CONFIG}: adapter_names must name 2 to {_MOST_MEMBERS} different adapters"]
        )
    return members


def _sites(weights: Weights, base: BaseDescription) -> set[str]:
    """Return the sites at which the file has anything; a fusion stands in every layer of each."""
    found = {name.partition(_CONTAINER)[0] for name in weights.tensors if _CONTAINER in name}
    prefix = f"{base.architecture.base_prefix}."
    places = {place.removeprefix(prefix) for place in found}
    return {
        site.key
        for layer in base.layers
        for site in layer.stack.sites
        if f"{layer.saved_path}.{site.saved_as}" in places
    }


def _compare(
    weights: Weights,
    name: str,
    config: AdapterFusionConfig,
    sites: set[str],
    base: BaseDescription,
    check: Check,
) -> None:
    if not sites:
        check.problem(
            weights.file,
            f"none of its {len(weights.tensors)} tensors is part of a fusion on this "
            f"{base.model_type}; names read ...{_CONTAINER}{name}.query.weight",
        )
        return
    expected = fusion_tensors_at(name, config, sites, base)
    prefix = f"{base.architecture.base_prefix}."
    source = f"the fusion's configuration, on this {base.model_type},"
    compare(weights, as_in_file(expected, weights.tensors, prefix), check, source=source)
