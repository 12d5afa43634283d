"""The files a hub reads beside an adapter's weights: base identity, contract, base registration."""

from pathlib import Path
from typing import Any

from torch import nn

from adapters_runtime import identity
from adapters_runtime.composition import AdapterCompositionBlock
from adapters_runtime.configs import signature
from adapters_runtime.errors import FormatError
from adapters_runtime.info import SLOTS, AdapterInfo
from adapters_runtime.inject.bank import AdapterBank, bank_of
from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from adapters_runtime.inject.token_tables import OWN
from adapters_runtime.io import files
from adapters_runtime.shapes import fused_points, fused_sites

SCHEMA = "hub.adapter/1"
_FIELDS: dict[str, type] = {
    "base": dict,
    "datasets": list,
    "languages": list,
    "requires": dict,
    "signature": dict,
    "training": dict,
}
"""Of hub_adapter.json, as far as it is read here."""


def base_name(model: nn.Module) -> str | None:
    """Return under which name others find the base: as `describe_base` says, or by its folder."""
    source: str | None = model.name_or_path  # type: ignore[assignment]
    return bank_of(model).base_name.get("name") or identity.public_name(source or None)


def read_hub(source: Path) -> dict[str, Any]:
    """Return what hub_adapter.json of a folder knows; raises FormatError."""
    path = source / files.HUB
    known = {field: value for field, value in files.read_json(path).items() if value is not None}
    for field, kind in _FIELDS.items():
        if not isinstance(known.get(field, kind()), kind):
            raise FormatError(f"{path}: {field!r} cannot be {known[field]!r}")
    for slot, wanted in known.get("requires", {}).items():
        if not isinstance(wanted, dict) or not isinstance(wanted.get("signature"), dict):
            raise FormatError(f"{path}: what 'requires' has for {slot!r} cannot be {wanted!r}")
    return known


def read_casts(source: Path) -> list[str]:
    """Return the digests that hub_base.json of a folder has for casts of the base."""
    path = source / files.HUB_BASE
    casts = files.read_json(path).get("aliases", []) if path.is_file() else []
    try:
        return [str(cast["digest"]) for cast in casts]
    except (TypeError, KeyError) as error:
        raise FormatError(f"{path}: `aliases` cannot be {casts!r}") from error


def hub_adapter(model: nn.Module, name: str, base: identity.BaseIdentity) -> dict[str, Any]:
    """Return the document hub_adapter.json of an adapter."""
    bank = bank_of(model)
    info = bank.info[name]
    return {
        "schema": SCHEMA,
        "kind": info.kind,
        "base": base.as_dict(),
        "signature": signature_of(bank, name),
        "requires": requirements(bank, name),
        "setup": _trained_in(bank, name),
        "languages": list(info.languages),
        "datasets": list(info.datasets),
        "training": dict(info.training),
    }


def hub_fusion(model: nn.Module, name: str, base: identity.BaseIdentity) -> dict[str, Any]:
    """Return hub_adapter.json of a fusion; it requires its members, under their names here."""
    bank = bank_of(model)
    members = bank.require_fusion(name).members
    sites = fused_sites(bank.configs[member] for member in members)
    return {
        "schema": SCHEMA,
        "kind": "fusion",
        "base": base.as_dict(),
        "signature": {
            "slot": SLOTS["fusion"],
            "method": "fusion",
            "layers": list(range(count_layers(bank))),
            "points": fused_points(sites),
        },
        "requires": {member: _requirement(bank, member) for member in members},
        "setup": {"Fuse": list(members), "layer": name},
    }


def hub_head(model: nn.Module, name: str, base: identity.BaseIdentity) -> dict[str, Any]:
    """Return hub_adapter.json of a head alone; it requires the adapter that is called like it."""
    bank = bank_of(model)
    partner = {slot_of(bank, name): _requirement(bank, name)} if name in bank.configs else {}
    return _without_layers("head", base) | {"requires": partner}


def hub_embedding(base: identity.BaseIdentity) -> dict[str, Any]:
    """Return hub_adapter.json of token embeddings."""
    return _without_layers("embedding", base)


def _without_layers(kind: str, base: identity.BaseIdentity) -> dict[str, Any]:
    offered = {"slot": SLOTS[kind], "method": kind, "layers": [], "points": []}
    return {"schema": SCHEMA, "kind": kind, "base": base.as_dict(), "signature": offered}


def _trained_in(bank: AdapterBank, name: str) -> Any:
    """Return the set-up of training, unless the adapter was trained alone."""
    setup = bank.info[name].setup
    return None if setup is None or setup.flatten() == (name,) else setup_tree(bank, setup)


def hub_base(model: nn.Module, base: identity.BaseIdentity) -> dict[str, Any]:
    """Return the document hub_base.json, which registers the base with a hub; it has no weights."""
    config: dict[str, Any] = model.config.to_diff_dict()  # type: ignore[operator, union-attr]
    config["model_type"] = model.config.model_type  # type: ignore[union-attr]
    config.pop("prediction_heads", None)  # no part of the base
    bank = bank_of(model)
    part = bank.architecture.stacks[0].part
    reading = config[part] if part else config
    if bank.tables.in_use != OWN and "vocab_size" in reading:
        reading["vocab_size"] = len(bank.tables.base_table)
    return {
        "identity": base.as_dict(),
        "config": config,
        "tensors": identity.tensor_index(model),
        "aliases": identity.aliases(model),
    }


def signature_of(bank: AdapterBank, name: str) -> dict[str, Any]:
    """Return what an adapter offers to its partners.

    Layers left out when it was loaded count as offered: they belong to the published adapter.
    """
    info = bank.info[name]
    offered = signature(bank.held(name), count_layers(bank))
    offered["layers"] = sorted({*offered["layers"], *info.dropped_layers})
    language = info.languages[0] if info.kind == "language" and info.languages else None
    return {**offered, "slot": info.slot, "language": language, "series": info.series}


def requirements(bank: AdapterBank, name: str) -> dict[str, Any]:
    """Return, per partner slot, what an adapter was trained with."""
    info = bank.info[name]
    if info.requires is not None:
        return info.requires
    partners = [] if info.setup is None else [n for n in info.setup.flatten() if n != name]
    found = {
        slot_of(bank, partner): _requirement(bank, partner)
        for partner in partners
        if partner in bank.configs
    }
    return found | _vocabulary(info)


def _requirement(bank: AdapterBank, partner: str) -> dict[str, Any]:
    info = bank.info[partner]
    return {
        "signature": signature_of(bank, partner),
        "drop_layers": list(info.dropped_layers),
        "ref": info.ref,
        "content": info.content,
    }


def _vocabulary(info: AdapterInfo) -> dict[str, Any]:
    """Return the requirement of embeddings beside the base's own, if those were in use."""
    if info.embeddings is None:
        return {}
    kind = "embedding"
    offered = {"slot": SLOTS[kind], "method": kind, "layers": [], "points": []}
    return {SLOTS[kind]: {"signature": offered, **info.embeddings}}


def setup_tree(bank: AdapterBank, block: AdapterCompositionBlock | str) -> Any:
    """Return a set-up as {"Stack": ["lang", "task"]}: slots in the place of names."""
    if isinstance(block, str):
        return slot_of(bank, block)
    options = block.to_dict().get("kwargs", {})
    return {type(block).__name__: [setup_tree(bank, child) for child in block], **options}


def slot_of(bank: AdapterBank, name: str) -> str:
    info = bank.info.get(name)
    return name if info is None or info.slot is None else info.slot


def count_layers(bank: AdapterBank) -> int:
    layers = {point.layer for point in bank.of_type(BottleneckPoint)}
    return len(layers)


def read_info(document: dict[str, Any], origin: dict[str, Any]) -> AdapterInfo:
    """Return what hub_adapter.json and hub_origin.json of a loaded folder say."""
    offered = document.get("signature", {})
    return AdapterInfo(
        kind=document.get("kind"),
        languages=tuple(document.get("languages", ())),
        series=offered.get("series"),
        datasets=tuple(document.get("datasets", ())),
        training=document.get("training", {}),
        ref=origin.get("ref"),
        content=origin.get("content"),
        requires=document.get("requires"),
    )
