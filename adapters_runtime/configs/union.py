"""Several methods in one adapter: one name, one file, trained and activated together.

He et al. 2021 (https://arxiv.org/abs/2110.04366, Mix-and-Match), Mao et al. 2021
(https://arxiv.org/abs/2110.07577, UniPELT).
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, ClassVar, Self

from adapters_runtime.configs.base import AdapterConfig, configuration
from adapters_runtime.configs.bottleneck import BnConfig, ParBnConfig, SeqBnConfig
from adapters_runtime.configs.lora import LoRAConfig
from adapters_runtime.configs.prefix_tuning import PrefixTuningConfig
from adapters_runtime.errors import ConfigError

_MOST_PARTS = 64


@configuration
class ConfigUnion(AdapterConfig):
    """Configurations of which no two put something in the same place of the same layer.

    Whether two that leave layers out meet in one depends on the number of layers; for them
    `check_overlap` is asked again when the model is known.
    """

    architecture: ClassVar[str | None] = "union"

    configs: tuple[AdapterConfig, ...]

    def __init__(self, *configs: AdapterConfig) -> None:
        object.__setattr__(self, "configs", configs)
        self.check()

    def check(self) -> None:
        if not self.configs:
            raise ConfigError("a union needs at least one configuration")
        if len(self.configs) > _MOST_PARTS:
            raise ConfigError(f"a union has at most {_MOST_PARTS} parts, not {len(self.configs)}")
        for part in self.configs:
            if not isinstance(part, AdapterConfig):
                raise ConfigError(f"a union holds configurations, not {part!r}")
            if isinstance(part, ConfigUnion):
                raise ConfigError("a union cannot hold another union; list all its parts in one")
        for first, second in combinations(self.configs, 2):
            # Layers are counted from 0 upwards, so one that leaves none out fills any two.
            if not (_leaves_out(first) or _leaves_out(second)):
                _check_pair(first, second)

    def check_overlap(self, count: int) -> None:
        """Raise ConfigError when two parts meet in a model with `count` layers."""
        for first, second in combinations(self.configs, 2):
            if set(first.layers_within(count)) & set(second.layers_within(count)):
                _check_pair(first, second)

    def places(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.places() for part in self.configs))

    def layers_within(self, count: int) -> tuple[int, ...]:
        return tuple(sorted({i for part in self.configs for i in part.layers_within(count)}))

    def replace(self, **changes: Any) -> Self:
        """Change these fields in every part that has them; ConfigError for one that none has."""
        known = {name for part in self.configs for name in part}
        if unknown := sorted(set(changes) - known):
            raise ConfigError(f"no part of the union has a field {', '.join(map(repr, unknown))}")
        return self._of(
            part.replace(**{name: value for name, value in changes.items() if name in part})
            for part in self.configs
        )

    @classmethod
    def build(cls, data: Mapping[str, Any]) -> AdapterConfig:
        parts = data.get("configs")
        if not isinstance(parts, list | tuple):
            raise ConfigError(f"`configs` of a union must be a list of configurations: {parts!r}")
        if unknown := sorted(set(data) - {"architecture", "configs"}):
            raise ConfigError(f"a union has no field {', '.join(map(repr, unknown))}")
        return cls._of(AdapterConfig.from_dict(part) for part in parts)

    @classmethod
    def _of(cls, parts: Any) -> Self:
        """Build from parts, whatever the constructor of a subclass looks like."""
        union = cls.__new__(cls)
        ConfigUnion.__init__(union, *parts)
        return union

    def __repr__(self) -> str:
        return f"ConfigUnion({', '.join(map(repr, self.configs))})"


@configuration
class MAMConfig(ConfigUnion):
    """Mix-and-Match: prefixes, and parallel bottlenecks beside the feed-forward blocks."""

    def __init__(
        self,
        prefix_tuning: PrefixTuningConfig | None = None,
        adapter: BnConfig | None = None,
    ) -> None:
        super().__init__(
            prefix_tuning or PrefixTuningConfig(bottleneck_size=800), adapter or ParBnConfig()
        )

    @property
    def prefix_tuning(self) -> AdapterConfig:
        return self.configs[0]

    @property
    def adapter(self) -> AdapterConfig:
        return self.configs[1]


@configuration
class UniPELTConfig(ConfigUnion):
    """UniPELT: prefixes, bottlenecks and LoRA, each behind a learned gate."""

    def __init__(
        self,
        prefix_tuning: PrefixTuningConfig | None = None,
        adapter: BnConfig | None = None,
        lora: LoRAConfig | None = None,
    ) -> None:
        parts: tuple[AdapterConfig, ...] = (
            prefix_tuning or PrefixTuningConfig(prefix_length=10),
            adapter or SeqBnConfig(reduction_factor=16),
            lora or LoRAConfig(r=8, alpha=2),
        )
        super().__init__(*(part.replace(use_gating=True) for part in parts))


def _leaves_out(part: AdapterConfig) -> bool:
    return bool(part.get("leave_out")) or part.get("layers", "all") != "all"


def _check_pair(first: AdapterConfig, second: AdapterConfig) -> None:
    if shared := sorted(first.places() & second.places()):
        raise ConfigError(
            f"{first!r} and {second!r} cannot be combined: both stand at {', '.join(shared)}"
        )
