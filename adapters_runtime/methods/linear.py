"""Which method a configuration of a linear map's adapter means."""

from collections.abc import Sequence

from adapters_runtime.configs import LoRAConfig, MTLLoRAConfig
from adapters_runtime.methods.base import Host, LinearMethod
from adapters_runtime.methods.dora import Magnitude
from adapters_runtime.methods.ia3 import IA3
from adapters_runtime.methods.lora import LoRA
from adapters_runtime.methods.low_rank import LowRank
from adapters_runtime.methods.mtl_lora import MTLLoRA
from adapters_runtime.methods.vera import VeRA


def build_linear(
    config: LoRAConfig, in_features: int, widths: Sequence[int], host: Host
) -> LinearMethod:
    """Return a fresh adapter of a map whose parts have the given widths."""
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
