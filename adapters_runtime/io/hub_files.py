"""The files a hub reads beside an adapter's weights: base identity, contract, base registration."""

from typing import Any

from torch import nn

from adapters_runtime import identity
from adapters_runtime.composition import AdapterCompositionBlock
from adapters_runtime.configs import signature
from adapters_runtime.info import AdapterInfo
from adapters_runtime.inject.bank import AdapterBank, bank_of
from adapters_runtime.inject.bottleneck_point import BottleneckPoint

SCHEMA = "hub.adapter/1"


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


def _trained_in(bank: AdapterBank, name: str) -> Any:
    """Return the set-up of training, unless the adapter was trained alone."""
    setup = bank.info[name].setup
    return None if setup is None or setup.flatten() == (name,) else setup_tree(bank, setup)


def hub_base(model: nn.Module, base: identity.BaseIdentity) -> dict[str, Any]:
    """Return the document hub_base.json, which registers the base with a hub; it has no weights."""
    config: dict[str, Any] = model.config.to_diff_dict()  # type: ignore[operator, union-attr]
    config["model_type"] = model.config.model_type  # type: ignore[union-attr]
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
    offered = signature(bank.configs[name], count_layers(bank))
    offered["layers"] = sorted({*offered["layers"], *info.dropped_layers})
    language = info.languages[0] if info.kind == "language" and info.languages else None
    return {**offered, "slot": info.slot, "language": language, "series": info.series}


def requirements(bank: AdapterBank, name: str) -> dict[str, Any]:
    """Return, per partner slot, what an adapter was trained with."""
    info = bank.info[name]
    if info.requires is not None:
        return info.requires
    partners = [] if info.setup is None else [n for n in info.setup.flatten() if n != name]
    return {
        slot_of(bank, partner): {
            "signature": signature_of(bank, partner),
            "drop_layers": list(bank.info[partner].dropped_layers),
            "ref": bank.info[partner].ref,
            "content": bank.info[partner].content,
        }
        for partner in partners
        if partner in bank.configs
    }


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
