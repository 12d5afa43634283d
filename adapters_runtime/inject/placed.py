"""One layer of a specification, and where it is in a model."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from adapters_runtime.architectures import Attention, FusedProjection, Layer, part_widths
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.paths import find, in_features, out_features, path_within


class PlacedLayer:
    """One layer, its modules, and the names that AdapterHub's files have for them."""

    def __init__(self, layer: Layer, base: nn.Module) -> None:
        self.stack = layer.stack
        self.index = layer.index
        self.saved_path = layer.saved_path
        self.module = find(base, layer.path)
        self.config = config_at(base, layer.path)

    def find(self, path: str) -> nn.Module:
        return find(self.module, path)

    def part_widths(self, attention: Attention) -> dict[str, int]:
        """Return the features of each part of an attention's fused projection, in their order."""
        widths = fused_widths(self.module, attention, self.config)
        if widths is None:
            raise ConfigError(
                f"{self.config.num_attention_heads} heads cannot share evenly what the fused "
                f"projection of {self.saved_path}.{attention.path} gives"
            )
        return widths

    def saved_as(self, path: str) -> str:
        return f"{self.saved_path}.{self.stack.saved_as(path_within(self.module, path))}"


def config_at(base: nn.Module, path: str) -> Any:
    """Return the configuration of the part that a path leads into: a tower has its own."""
    found: Any = base.config
    module = base
    for step in path.split("."):
        module = module.get_submodule(step)
        found = getattr(module, "config", found)
    return found.get_text_config()


def fused_widths(layer: nn.Module, attention: Attention, config: Any) -> dict[str, int] | None:
    assert attention.fused is not None
    module = find(layer, f"{attention.path}.{attention.fused.path}")
    key_heads = getattr(config, "num_key_value_heads", None)
    heads = config.num_attention_heads
    return part_widths(attention.fused, out_features(module), heads, key_heads, in_features(module))


def groups_of(fused: FusedProjection, widths: Mapping[str, int], heads: int) -> int:
    """Return how many times a fused map gives all its parts, one after the other."""
    least = min(widths.values())
    return 1 if fused.layout == "concat" else least * heads // widths.get("q", least)
