"""Fusions of a bank: added, removed and trained as a whole, though they stand in many places."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from adapters_runtime.configs import AdapterFusionConfig
from adapters_runtime.errors import ConfigError, FusionExists
from adapters_runtime.inject.bank import AdapterBank, Fusion, hidden
from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from adapters_runtime.methods.fusion import AdapterFusion
from adapters_runtime.shapes import fused_sites

CONTAINER = "adapter_fusion_layer"
"""AdapterHub's name for the dictionary of fusions at a place."""


def add(bank: AdapterBank, name: str, members: Sequence[str], config: AdapterFusionConfig) -> None:
    """Add a fusion wherever all its members have a place, frozen.

    Raises FusionExists, AdapterNotLoaded, and ConfigError when the members share no place.
    """
    if name in bank.fusions:
        raise FusionExists(name)
    sites = fused_sites(bank.require(member) for member in members)
    places = [point for point in bank.of_type(BottleneckPoint) if point.site.key in sites]
    if not places:
        raise ConfigError(
            f"{', '.join(members)} cannot be fused: a fusion stands where all its members have a "
            "bottleneck, and these share no such place"
        )
    for point in places:
        point.add_fusion(name, config)
    bank.fusions[name] = Fusion(config, tuple(members))
    freeze(bank, name)


def replace(
    bank: AdapterBank, name: str, members: Sequence[str], config: AdapterFusionConfig
) -> None:
    """Put a new fusion in the place of one; where it cannot be built, the old one stays."""
    temporary = hidden(name)
    add(bank, temporary, members, config)
    remove(bank, name)
    rename(bank, temporary, name)


def remove(bank: AdapterBank, name: str) -> None:
    bank.require_fusion(name)
    for point in bank.of_type(BottleneckPoint):
        if name in point.fusions:
            del point.fusions[name]
    del bank.fusions[name]


def rename(bank: AdapterBank, old: str, new: str) -> None:
    for point in bank.of_type(BottleneckPoint):
        if old in point.fusions:
            point.fusions.rename(old, new)
    bank.fusions[new] = bank.fusions.pop(old)


def modules_of(bank: AdapterBank, name: str) -> Iterator[tuple[BottleneckPoint, AdapterFusion]]:
    for point in bank.of_type(BottleneckPoint):
        if name in point.fusions:
            module = point.fusions[name]
            assert isinstance(module, AdapterFusion)
            yield point, module


def parameters_of(bank: AdapterBank, name: str) -> Iterator[nn.Parameter]:
    for _, module in modules_of(bank, name):
        yield from module.parameters()


def saved_tensors(bank: AdapterBank, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield a fusion's tensors under AdapterHub's names, without the base's prefix."""
    for point, module in modules_of(bank, name):
        for key, parameter in module.named_parameters():
            yield f"{point.path}.{CONTAINER}.{name}.{key}", parameter


def fill(bank: AdapterBank, name: str, tensors: Mapping[str, Tensor], temperature: float) -> None:
    """Copy tensors, under the names of `saved_tensors`, and say how far the fusion has cooled."""
    with torch.no_grad():
        for key, parameter in saved_tensors(bank, name):
            parameter.copy_(tensors[key])
        for _, module in modules_of(bank, name):
            module.temperature.fill_(temperature)


def freeze(bank: AdapterBank, name: str, *, frozen: bool = True) -> None:
    for parameter in parameters_of(bank, name):
        parameter.requires_grad_(not frozen)


def regularization_loss(bank: AdapterBank) -> Tensor:
    """Return what the value matrices of the active fusions add to the loss; zero if nothing."""
    activation = bank.activations.current()
    losses = [
        loss
        for name in (() if activation is None else activation.fusions)
        for _, module in modules_of(bank, name)
        if (loss := module.regularization_loss()) is not None
    ]
    return torch.stack(losses).sum() if losses else torch.zeros(())
