"""ReFT: low-rank edits of the layers' outputs at the first and last positions.

Wu et al. 2024, https://arxiv.org/abs/2404.03592.
"""

from typing import ClassVar, Literal

from adapters_runtime.configs.base import (
    AdapterConfig,
    check_activation,
    check_layers,
    check_positive,
    check_probability,
    configuration,
)
from adapters_runtime.errors import ConfigError


@configuration
class ReftConfig(AdapterConfig):
    """Every option there is; the classes below are the published choices among them."""

    architecture: ClassVar[str | None] = "reft"

    layers: Literal["all"] | tuple[int, ...]
    prefix_positions: int
    """How many positions at the start are edited."""
    suffix_positions: int
    """How many positions at the end are edited."""
    r: int
    orthogonality: bool
    """Keep the rows of the projection orthonormal."""
    tied_weights: bool = False
    """Edit both ends with the same weights."""
    dropout: float = 0.05
    non_linearity: str | None = None
    dtype: str | None = None
    output_reft: bool = True
    init_weights_seed: int | None = None
    subtract_projection: bool = True
    """False in DiReFT. AdapterHub's library forgets it when it saves; it does read it."""

    def check(self) -> None:
        if self.layers != "all":
            check_layers(self.layers, of="layers")
        check_positive(self.r, of="r")
        check_probability(self.dropout, of="dropout")
        if self.non_linearity is not None:
            check_activation(self.non_linearity, of="non_linearity")
        if min(self.prefix_positions, self.suffix_positions) < 0 or not (
            self.prefix_positions + self.suffix_positions
        ):
            raise ConfigError(
                "prefix_positions and suffix_positions must not be negative, nor both 0: they are "
                f"{self.prefix_positions} and {self.suffix_positions}"
            )

    def places(self) -> frozenset[str]:
        return frozenset({"layer"} if self.output_reft else ())

    def layers_within(self, count: int) -> tuple[int, ...]:
        wanted = range(count) if self.layers == "all" else set(self.layers)
        return tuple(layer for layer in range(count) if layer in wanted)


@configuration
class LoReftConfig(ReftConfig):
    """The low-rank linear subspace form."""

    layers: Literal["all"] | tuple[int, ...] = "all"
    prefix_positions: int = 3
    suffix_positions: int = 0
    r: int = 1
    orthogonality: bool = True


@configuration
class NoReftConfig(LoReftConfig):
    """`LoReftConfig` without the constraint on the projection."""

    orthogonality: bool = False


@configuration
class DiReftConfig(LoReftConfig):
    """`NoReftConfig` which does not subtract the projection of the input either."""

    orthogonality: bool = False
    subtract_projection: bool = False
