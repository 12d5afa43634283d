"""Adapters of single linear maps: LoRA, and the methods that share its places and its files.

Hu et al. 2021 (https://arxiv.org/abs/2106.09685, LoRA), Liu et al. 2022
(https://arxiv.org/abs/2205.05638, (IA)³), Kopiczko et al. 2023
(https://arxiv.org/abs/2310.11454, VeRA), Liu et al. 2024 (https://arxiv.org/abs/2402.09353, DoRA).
"""

from typing import ClassVar, Literal

from adapters_runtime.configs.base import (
    LayeredConfig,
    check_layers,
    check_positive,
    check_probability,
    configuration,
)
from adapters_runtime.errors import ConfigError

Matrix = Literal["q", "k", "v"]
Initialisation = Literal["lora", "bert", "ia3", "vera"]

PLACES: dict[str, str] = {"q": "query", "k": "key", "v": "value"}


@configuration
class LoRAConfig(LayeredConfig):
    """A low-rank update beside a linear map; every option there is.

    The classes below fix some of these fields, and AdapterHub's files tell them apart by nothing
    else: `is_ia3`, `is_vera` and `use_dora` say which method this is.
    """

    architecture: ClassVar[str | None] = "lora"

    selfattn_lora: bool = True
    """Adapt the maps named in `attn_matrices`."""
    intermediate_lora: bool = False
    """Adapt the feed-forward block's first map."""
    output_lora: bool = False
    """Adapt the feed-forward block's last map."""
    leave_out: tuple[int, ...] = ()
    r: int = 8
    alpha: float = 8
    dropout: float = 0.0
    attn_matrices: tuple[Matrix, ...] = ("q", "v")
    composition_mode: Literal["add", "scale"] = "add"
    init_weights: Initialisation = "lora"
    init_weights_seed: int | None = None
    use_gating: bool = False
    use_dora: bool = False
    vera_d: float | None = None
    vera_b: float | None = None
    dtype: str | None = None
    """For AdapterHub's library, which needs it; here weights always are of the model's type."""

    @property
    def is_ia3(self) -> bool:
        return self.composition_mode == "scale"

    @property
    def is_vera(self) -> bool:
        return self.vera_d is not None or self.vera_b is not None

    def check(self) -> None:
        check_positive(self.r, of="r")
        check_probability(self.dropout, of="dropout")
        check_layers(self.leave_out, of="leave_out")
        if len(set(self.attn_matrices)) != len(self.attn_matrices):
            raise ConfigError(f"attn_matrices names one twice: {list(self.attn_matrices)}")
        if self.is_ia3 and (self.r != 1 or self.dropout):
            raise ConfigError(
                'composition_mode "scale" learns one factor for each feature: it needs r=1 and '
                f"dropout=0, not r={self.r} and dropout={self.dropout}"
            )
        if self.is_ia3 and (self.use_dora or self.is_vera):
            raise ConfigError('composition_mode "scale" allows neither use_dora, vera_d nor vera_b')
        if self.use_dora and self.use_gating:
            raise ConfigError(
                "use_dora and use_gating both scale the update, and no paper says how they would "
                "go together; choose one"
            )
        if self.init_weights == "vera" and (self.vera_d is None or self.vera_b is None):
            raise ConfigError('init_weights="vera" needs values for vera_d and vera_b')

    def places(self) -> frozenset[str]:
        places = {PLACES[matrix] for matrix in self.attn_matrices} if self.selfattn_lora else set()
        if self.intermediate_lora:
            places.add("intermediate")
        if self.output_lora:
            places.add("ffn_output")
        return frozenset(places)


@configuration
class IA3Config(LoRAConfig):
    """(IA)³: one learned factor for each output feature."""

    intermediate_lora: bool = True
    r: int = 1
    alpha: float = 1
    attn_matrices: tuple[Matrix, ...] = ("k", "v")
    composition_mode: Literal["add", "scale"] = "scale"
    init_weights: Initialisation = "ia3"


@configuration
class VeraConfig(LoRAConfig):
    """VeRA: frozen random matrices shared by all layers, with two learned vectors in each."""

    init_weights: Initialisation = "vera"
    vera_d: float | None = 0.1
    vera_b: float | None = 0.0


@configuration
class DoRAConfig(LoRAConfig):
    """DoRA: the magnitude of each column of the weight is learned apart from its direction."""

    use_dora: bool = True


@configuration
class DvoRAConfig(LoRAConfig):
    """DVoRA: DoRA whose direction is a VeRA."""

    init_weights: Initialisation = "vera"
    use_dora: bool = True
    vera_d: float | None = 0.1
    vera_b: float | None = 0.0
