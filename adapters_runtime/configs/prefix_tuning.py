"""Prefix tuning: learned keys and values that every query may attend to.

Li and Liang 2021, https://arxiv.org/abs/2101.00190.
"""

from typing import ClassVar

from adapters_runtime.configs.base import (
    LayeredConfig,
    check_activation,
    check_layers,
    check_positive,
    check_probability,
    configuration,
)


@configuration
class PrefixTuningConfig(LayeredConfig):
    """Prefixes in every self-attention; the first two fields matter to encoder-decoders only."""

    architecture: ClassVar[str | None] = "prefix_tuning"

    encoder_prefix: bool = True
    cross_prefix: bool = True
    leave_out: tuple[int, ...] = ()
    flat: bool = False
    """Train keys and values themselves, and not an embedding with an MLP that yields them."""
    prefix_length: int = 30
    bottleneck_size: int = 512
    """Width of that MLP."""
    non_linearity: str = "tanh"
    dropout: float = 0.0
    use_gating: bool = False
    shared_gating: bool = True
    """One gate for keys and values together."""
    init_weights_seed: int | None = None

    def check(self) -> None:
        check_activation(self.non_linearity, of="non_linearity")
        check_probability(self.dropout, of="dropout")
        check_layers(self.leave_out, of="leave_out")
        check_positive(self.prefix_length, of="prefix_length")
        check_positive(self.bottleneck_size, of="bottleneck_size")

    def places(self) -> frozenset[str]:
        flags = {"encoder_prefix": self.encoder_prefix, "cross_prefix": self.cross_prefix}
        return frozenset({"self_prefix"} | {place for place, used in flags.items() if used})
