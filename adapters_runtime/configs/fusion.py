"""AdapterFusion: attention over the outputs of several adapters.

Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from adapters_runtime.configs.base import AdapterConfig, check_probability, configuration
from adapters_runtime.errors import ConfigError


@configuration
class AdapterFusionConfig(AdapterConfig, of_adapter=False):
    """Every option there is; the classes below are the published choices among them."""

    key: bool
    query: bool
    value: bool
    query_before_ln: bool
    regularization: bool
    """Pull the value matrix towards the identity."""
    residual_before: bool
    temperature: bool
    """Sharpen the attention as training goes on."""
    value_before_softmax: bool
    value_initialized: bool | str
    """Start the value matrix as the identity, but for small noise."""
    dropout_prob: float | None = None

    architecture: ClassVar[str | None] = "adapter_fusion"

    def check(self) -> None:
        if self.dropout_prob is not None:
            check_probability(self.dropout_prob, of="dropout_prob")

    def places(self) -> frozenset[str]:
        return frozenset({"fusion"})

    def layers_within(self, count: int) -> tuple[int, ...]:
        return tuple(range(count))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields; AdapterHub's fusion files name no architecture."""
        data = super().to_dict()
        del data["architecture"]
        return data

    @classmethod
    def load(cls, config: Any, **overrides: Any) -> "AdapterFusionConfig":
        if isinstance(config, str):
            if config not in ADAPTERFUSION_CONFIG_MAP:
                known = ", ".join(ADAPTERFUSION_CONFIG_MAP)
                raise ConfigError(f"no fusion is called {config!r} (there are: {known})")
            config = ADAPTERFUSION_CONFIG_MAP[config]
        given = {name: value for name, value in overrides.items() if value is not None}
        loaded = cls.from_dict(config)
        if not isinstance(loaded, AdapterFusionConfig):
            raise ConfigError(f"{config!r} is the configuration of an adapter, not of a fusion")
        return loaded.replace(**given) if given else loaded


@configuration
class StaticAdapterFusionConfig(AdapterFusionConfig):
    """Mix the outputs as they are."""

    key: bool = True
    query: bool = True
    value: bool = False
    query_before_ln: bool = False
    regularization: bool = False
    residual_before: bool = False
    temperature: bool = False
    value_before_softmax: bool = True
    value_initialized: bool | str = False
    dropout_prob: float | None = None


@configuration
class DynamicAdapterFusionConfig(AdapterFusionConfig):
    """Mix the outputs after a value matrix, which starts as the identity."""

    key: bool = True
    query: bool = True
    value: bool = True
    query_before_ln: bool = False
    regularization: bool = True
    residual_before: bool = False
    temperature: bool = False
    value_before_softmax: bool = True
    value_initialized: bool | str = True
    dropout_prob: float | None = None


DEFAULT_ADAPTERFUSION_CONFIG = "dynamic"

ADAPTERFUSION_CONFIG_MAP: Mapping[str, AdapterFusionConfig] = {
    "static": StaticAdapterFusionConfig(),
    "dynamic": DynamicAdapterFusionConfig(),
}
