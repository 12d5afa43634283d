"""Adapters of several tasks that have parameters in common: MTL-LoRA's A and B.

The modules of all of them then hold the very same parameters. Files stay complete: each adapter's
holds the common parameters too.
"""

from collections.abc import Iterator, Sequence

from torch import nn

from adapters_runtime.configs import MTLLoRAConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import AdapterBank
from adapters_runtime.inject.linear_point import LinearPoint
from adapters_runtime.methods.mtl_lora import MTLLoRA


def share(bank: AdapterBank, names: Sequence[str], reference: str) -> None:
    """Give the adapters what `reference`, one of them, has for A and B.

    Raises AdapterNotLoaded, and ConfigError unless all are MTL-LoRAs of one configuration.
    """
    if reference not in names:
        raise ConfigError(f"{reference!r} is not among the adapters that share: {list(names)}")
    config = bank.require(reference)
    for name in names:
        if not isinstance(config, MTLLoRAConfig) or bank.require(name) != config:
            raise ConfigError(
                "adapters that share parameters are MTL-LoRAs of one configuration; "
                f"{name!r} is {bank.require(name)!r} and {reference!r} {config!r}"
            )
    for modules in _places(bank, names):
        original = modules[list(names).index(reference)]
        for module in modules:
            for key in module.shareable:
                setattr(module, key, getattr(original, key))


def unshare(bank: AdapterBank, names: Sequence[str]) -> None:
    """Give each adapter parameters of its own again, with the values they had in common."""
    for name in names:
        bank.require(name)
    for modules in _places(bank, names):
        for module in modules[1:]:
            for key in module.shareable:
                common = getattr(module, key)
                own = nn.Parameter(common.detach().clone(), requires_grad=common.requires_grad)
                setattr(module, key, own)


def _places(bank: AdapterBank, names: Sequence[str]) -> Iterator[list[MTLLoRA]]:
    """Yield the modules of the adapters, place by place."""
    for point in bank.of_type(LinearPoint):
        modules = [point.adapters[name] for name in names if name in point.adapters]
        found = [module for module in modules if isinstance(module, MTLLoRA)]
        if found:
            yield found
