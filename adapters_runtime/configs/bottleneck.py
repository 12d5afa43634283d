"""Bottleneck adapters: down-projection, activation, up-projection, beside a residual stream.

Houlsby et al. 2019 (https://arxiv.org/abs/1902.00751), Pfeiffer et al. 2020
(https://arxiv.org/abs/2005.00247, invertible parts), He et al. 2021
(https://arxiv.org/abs/2110.04366, parallel), Mahabadi et al. 2021
(https://arxiv.org/abs/2106.04647, Compacter), Steitz and Roth 2024
(https://arxiv.org/abs/2406.06820, Adapter+).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from adapters_runtime.configs.base import (
    AdapterConfig,
    LayeredConfig,
    check_activation,
    check_layers,
    check_positive,
    check_probability,
    check_ratio,
    configuration,
)
from adapters_runtime.configs.legacy import upgrade_bottleneck
from adapters_runtime.errors import ConfigError

LayerMap = Mapping[str, float]
"""One value for each layer, keys "0", "1", ... and "default" for the rest."""


@configuration
class BnConfig(LayeredConfig):
    """Every option there is; the classes below are the published choices among them."""

    architecture: ClassVar[str | None] = None

    mh_adapter: bool
    """Stand after self-attention."""
    output_adapter: bool
    """Stand after the feed-forward block."""
    reduction_factor: float | LayerMap
    """Width of the model divided by width of the bottleneck; below 1 the bottleneck is wider."""
    non_linearity: str
    original_ln_before: bool = False
    """Apply the model's residual and norm to the input of the bottleneck."""
    original_ln_after: bool = True
    """Apply the model's residual and norm to the output of the bottleneck."""
    ln_before: bool = False
    """Normalise the input of the bottleneck by a norm of its own."""
    ln_after: bool = False
    """Normalise the output of the bottleneck by a norm of its own."""
    init_weights: Literal["bert", "mam_adapter", "houlsby"] = "bert"
    init_weights_seed: int | None = None
    is_parallel: bool = False
    """Take the sub-block's input, not its output, and add to the output."""
    scaling: float | Literal["learned", "channel"] = 1.0
    """Factor of the up-projection's output: fixed, one learned number, or one for each channel."""
    use_gating: bool = False
    """Let a learned gate scale the adapter for each example (UniPELT)."""
    residual_before_ln: bool | Literal["post_add"] = True
    """With original_ln_before: whether the bottleneck's residual is taken before that norm."""
    adapter_residual_before_ln: bool = False
    """With ln_after: add the bottleneck's residual before that norm."""
    inv_adapter: Literal["nice", "glow"] | None = None
    """Invertible adapter behind the embeddings, whose inverse stands before the LM head."""
    inv_adapter_reduction_factor: float | None = None
    cross_adapter: bool = False
    """Stand after cross-attention too, where the model has it."""
    leave_out: tuple[int, ...] = ()
    dropout: float = 0.0
    phm_layer: bool = False
    """Make the projections sums of Kronecker products (Compacter); the options follow."""
    phm_dim: int = 4
    factorized_phm_W: bool = True  # noqa: N815  (the name in AdapterHub's files)
    shared_W_phm: bool = False  # noqa: N815  (the name in AdapterHub's files)
    shared_phm_rule: bool = True
    factorized_phm_rule: bool = False
    phm_c_init: Literal["normal", "uniform"] = "normal"
    phm_init_range: float = 0.0001
    learn_phm: bool = True
    hypercomplex_nonlinearity: str = "glorot-uniform"
    phm_rank: int = 1
    phm_bias: bool = True
    stochastic_depth: float = 0.0
    """Probability that a training step leaves the adapter of an example out."""

    def check(self) -> None:
        check_activation(self.non_linearity, of="non_linearity")
        check_probability(self.dropout, of="dropout")
        check_probability(self.stochastic_depth, of="stochastic_depth")
        check_layers(self.leave_out, of="leave_out")
        self._check_reduction()
        if self.inv_adapter is not None and self.inv_adapter_reduction_factor is None:
            raise ConfigError("inv_adapter needs a value for inv_adapter_reduction_factor")
        if self.phm_layer:
            check_positive(self.phm_dim, of="phm_dim")
            check_positive(self.phm_rank, of="phm_rank")

    def _check_reduction(self) -> None:
        if self.inv_adapter_reduction_factor is not None:
            check_ratio(self.inv_adapter_reduction_factor, of="inv_adapter_reduction_factor")
        if not isinstance(self.reduction_factor, Mapping):
            return check_ratio(self.reduction_factor, of="reduction_factor")
        for layer, value in self.reduction_factor.items():
            if layer != "default" and not layer.isdecimal():
                raise ConfigError(
                    f"reduction_factor maps layers to values; {layer!r} is neither the number of a "
                    "layer nor 'default'"
                )
            check_ratio(value, of=f"reduction_factor of layer {layer}")
        return None

    def reduction_at(self, layer: int) -> float:
        """Return the reduction factor of one layer; ConfigError when a layer map leaves it out."""
        if not isinstance(self.reduction_factor, Mapping):
            return self.reduction_factor
        by_layer = self.reduction_factor
        value = by_layer.get(str(layer), by_layer.get("default"))
        if value is None:
            raise ConfigError(
                f"reduction_factor has no value for layer {layer}; add it, or 'default'"
            )
        return value

    def places(self) -> frozenset[str]:
        flags = {
            "attention": self.mh_adapter,
            "output": self.output_adapter,
            "cross": self.cross_adapter,
            "invertible": self.inv_adapter is not None,
        }
        return frozenset(place for place, used in flags.items() if used)

    @classmethod
    def build(cls, data: Mapping[str, Any]) -> AdapterConfig:
        return super().build(upgrade_bottleneck(data))


@configuration
class SeqBnConfig(BnConfig):
    """One bottleneck in each layer, after the feed-forward block (Pfeiffer et al.)."""

    original_ln_before: bool = True
    mh_adapter: bool = False
    output_adapter: bool = True
    reduction_factor: float | LayerMap = 16
    non_linearity: str = "relu"


@configuration
class SeqBnInvConfig(SeqBnConfig):
    """`SeqBnConfig` with an invertible adapter: MAD-X's language adapter."""

    inv_adapter: Literal["nice", "glow"] | None = "nice"
    inv_adapter_reduction_factor: float | None = 2


@configuration
class DoubleSeqBnConfig(BnConfig):
    """Two bottlenecks in each layer, after attention and after feed-forward (Houlsby et al.)."""

    mh_adapter: bool = True
    output_adapter: bool = True
    reduction_factor: float | LayerMap = 16
    non_linearity: str = "swish"


@configuration
class DoubleSeqBnInvConfig(DoubleSeqBnConfig):
    """`DoubleSeqBnConfig` with an invertible adapter."""

    inv_adapter: Literal["nice", "glow"] | None = "nice"
    inv_adapter_reduction_factor: float | None = 2


@configuration
class ParBnConfig(BnConfig):
    """One bottleneck in each layer, beside the feed-forward block (He et al.)."""

    mh_adapter: bool = False
    output_adapter: bool = True
    reduction_factor: float | LayerMap = 2
    non_linearity: str = "relu"
    init_weights: Literal["bert", "mam_adapter", "houlsby"] = "mam_adapter"
    is_parallel: bool = True
    scaling: float | Literal["learned", "channel"] = 4.0


@configuration
class CompacterConfig(DoubleSeqBnConfig):
    """Two bottlenecks of Kronecker products in each layer (Mahabadi et al.)."""

    reduction_factor: float | LayerMap = 32
    non_linearity: str = "gelu"
    phm_layer: bool = True


@configuration
class CompacterPlusPlusConfig(SeqBnConfig):
    """One bottleneck of Kronecker products in each layer."""

    reduction_factor: float | LayerMap = 32
    non_linearity: str = "gelu"
    phm_layer: bool = True


@configuration
class AdapterPlusConfig(BnConfig):
    """Behind the model's norm, scaled for each channel (Steitz and Roth)."""

    mh_adapter: bool = False
    output_adapter: bool = True
    reduction_factor: float | LayerMap = 96
    non_linearity: str = "gelu"
    original_ln_before: bool = True
    original_ln_after: bool = False
    init_weights: Literal["bert", "mam_adapter", "houlsby"] = "houlsby"
    scaling: float | Literal["learned", "channel"] = "channel"
    residual_before_ln: bool | Literal["post_add"] = False
    stochastic_depth: float = 0.1
