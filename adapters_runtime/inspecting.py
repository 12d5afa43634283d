"""Methods that show what a model with adapters is made of, and what it could have."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import nn

from adapters_runtime import fusing
from adapters_runtime.architectures import Layer, list_layers
from adapters_runtime.combining import Names, fusion_name
from adapters_runtime.configs import AdapterConfig, AdapterMethod, load_config
from adapters_runtime.errors import ConfigError, UnsupportedAttention, UnsupportedSite
from adapters_runtime.inject.bank import AdapterBank, bank_of
from adapters_runtime.inject.paths import find
from adapters_runtime.inject.point import Point

_EXAMPLES = {
    AdapterMethod.bottleneck: "seq_bn",
    AdapterMethod.prefix_tuning: "prefix_tuning",
    AdapterMethod.lora: "lora",
    AdapterMethod.prompt_tuning: "prompt_tuning",
    AdapterMethod.reft: "loreft",
    AdapterMethod.invertible: "seq_bn_inv",
}


class InspectingMethods:
    """Layers are counted over all stacks: a decoder goes on where its encoder ends."""

    def iter_layers(self) -> Iterator[tuple[int, nn.Module]]:
        """Yield the number and the module of each layer."""
        for layer, module in _layers(bank_of(self)):  # type: ignore[arg-type]
            yield layer.index, module

    def get_layer(self, idx: int) -> nn.Module:
        """Return one layer; raises IndexError."""
        return [module for _, module in self.iter_layers()][idx]

    def iter_attentions(self) -> Iterator[tuple[int, Literal["self", "cross"], nn.Module]]:
        """Yield the number of the layer, the kind and the module of each attention."""
        for layer, module in _layers(bank_of(self)):  # type: ignore[arg-type]
            for attention in layer.stack.attentions:
                kind: Literal["self", "cross"] = "cross" if attention.role == "cross" else "self"
                yield layer.index, kind, find(module, attention.path)

    def iter_layer_ffns(
        self,
    ) -> Iterator[tuple[int, Literal["intermediate", "output"], nn.Module]]:
        """Yield each layer's projections to the feed-forward width, and the one back."""
        for layer, module in _layers(bank_of(self)):  # type: ignore[arg-type]
            # Two paths may lead to one module: T5's feed-forward has a gate, or has none.
            for projection in dict.fromkeys(find(module, path) for path in layer.stack.ffn_in):
                yield layer.index, "intermediate", projection
            if layer.stack.ffn_out is not None:
                yield layer.index, "output", find(module, layer.stack.ffn_out)

    def apply_to_adapter_layers(self, fn: Callable[[int, nn.Module], Any]) -> None:
        """Call `fn(layer, place)` for each place in a layer at which adapters can stand."""
        for point in bank_of(self).of_type(Point):  # type: ignore[arg-type]
            if point.layer is not None:
                fn(point.layer, point)

    def supports_adapter(self, type_or_config: str | AdapterConfig) -> bool:
        """Return whether an adapter of this configuration, or kind of `AdapterMethod`, can stand.

        It is tried and taken away again; the generator of random numbers stays as it was.
        """
        bank = bank_of(self)  # type: ignore[arg-type]
        if isinstance(type_or_config, str):
            type_or_config = _EXAMPLES.get(type_or_config, type_or_config)
        config = load_config(type_or_config)
        try:
            with torch.random.fork_rng(devices=()):
                bank.add(_TRIAL, config)
        except (UnsupportedSite, UnsupportedAttention, ConfigError):
            return False
        bank.remove(_TRIAL)
        return True

    @property
    def has_parallel_adapters(self) -> bool:
        """Whether the set-up in force repeats the batch: it holds `Parallel`."""
        activation = bank_of(self).activations.current()  # type: ignore[arg-type]
        return activation is not None and activation.setup.parallel_channels > 1

    def adapter_to(
        self,
        name: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Move an adapter, and the head of its name, to a device or another type of numbers."""
        bank = bank_of(self)  # type: ignore[arg-type]
        bank.require(name)
        for point in bank.of_type(Point):
            if name in point.adapters:
                point.adapters[name].to(device, dtype)
        if name in (heads := getattr(self, "heads", {})):
            heads[name].to(device, dtype)

    def adapter_fusion_to(
        self,
        adapter_names: Names,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Move a fusion to a device or another type of numbers; raises FusionNotLoaded."""
        bank = bank_of(self)  # type: ignore[arg-type]
        name = fusion_name(adapter_names)
        bank.require_fusion(name)
        for _, module in fusing.modules_of(bank, name):
            module.to(device, dtype)


_TRIAL = "\0trial"


def _layers(bank: AdapterBank) -> Iterator[tuple[Layer, nn.Module]]:
    base = bank.base.module
    names = [name for name, _ in base.named_parameters()]
    for layer in list_layers(bank.architecture, names):
        yield layer, find(base, layer.path)
