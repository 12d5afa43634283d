"""Which method a configuration of a linear map's adapter means."""

from collections.abc import Callable, Sequence
from typing import Any

from adapters_runtime.configs import LoRAConfig, MTLLoRAConfig
from adapters_runtime.methods.base import Host, LinearMethod
from adapters_runtime.methods.dora import Magnitude
from adapters_runtime.methods.ia3 import IA3
from adapters_runtime.methods.lora import LoRA
from adapters_runtime.methods.low_rank import LowRank
from adapters_runtime.methods.mtl_lora import MTLLoRA
from adapters_runtime.methods.vera import VeRA

BUILDERS: dict[type[LoRAConfig], Callable[[Any, int, Sequence[int], Host], LinearMethod]] = {}
"""How methods are built that nothing but the class of their configuration tells apart.

Each takes what `build_linear` takes. docs/adding_a_method.md adds one.
"""


def build_linear(
    config: LoRAConfig, in_features: int, widths: Sequence[int], host: Host
) -> LinearMethod:
    """Return a fresh adapter of a map whose parts have the given widths."""
    if type(config) in BUILDERS:
        return BUILDERS[type(config)](config, in_features, widths, host)
    if config.is_ia3:
        return IA3(in_features, widths, config)
    method = _low_rank(config, in_features, widths)
    if config.use_dora:
        method.m = Magnitude(host.weight())
    return method


def _low_rank(config: LoRAConfig, in_features: int, widths: Sequence[int]) -> LowRank:
    if isinstance(config, MTLLoRAConfig):
        return MTLLoRA(in_features, widths, config)
    if config.is_vera:
        return VeRA(in_features, widths, config)
    return LoRA(in_features, widths, config)
