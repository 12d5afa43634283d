"""Prefix tuning without its MLP: once trained, only the prefixes that it gives are needed."""

from adapters_runtime.configs import AdapterConfig, PrefixTuningConfig, map_parts, parts_of
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import AdapterBank
from adapters_runtime.inject.prefix_point import PrefixPool


def eject(bank: AdapterBank, name: str) -> None:
    """Make an adapter's prefixes flat, in the model and in its configuration.

    Raises AdapterNotLoaded, and ConfigError when the adapter has no prefixes.
    """
    config = bank.require(name)
    if not any(isinstance(part, PrefixTuningConfig) for part in parts_of(config)):
        raise ConfigError(f"adapter {name!r} has no prefixes, so there is nothing to eject")
    for pool in bank.of_type(PrefixPool):
        if name in pool.adapters:  # half of a pair may have no prefixes
            pool.eject(name)
    # The file says what it holds by its configuration alone.
    bank.configs[name] = map_parts(_flat, config)


def _flat(part: AdapterConfig) -> AdapterConfig:
    return part.replace(flat=True) if isinstance(part, PrefixTuningConfig) else part
