"""Prefix tuning: keys and values of its own in each attention, before those of the tokens.

    attention(q, [P_k; K], [P_v; V]),   [P_k; P_v] = MLP(E)  or free parameters

Source: Li and Liang 2021, https://arxiv.org/abs/2101.00190, sections 4.2 and 4.3. All layers of a
location take theirs from one MLP, or from one flat vector. Training the MLP is more stable; once
trained, only what it gives is needed (`Prefixes.as_flat`).

With `use_gating` (UniPELT: Mao et al. 2022, https://arxiv.org/abs/2110.07577, section 3.2) keys and
values are scaled by gates, the mean over tokens of sigmoid(w x + c).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import PrefixTuningConfig
from adapters_runtime.methods.activations import Activation


class Prefixes(nn.Module, ABC):
    """The prefixes of `layers` layers, each with keys and values of `width` features."""

    def __init__(self, config: PrefixTuningConfig, layers: int, width: int) -> None:
        super().__init__()
        self.config = config
        self.length = config.prefix_length
        self.layers = layers
        self.width = width
        self.dropout = nn.Dropout(config.dropout)

    @abstractmethod
    def of_all_layers(self) -> Tensor:
        """Return keys and values of all layers side by side, (length, layers · 2 · width)."""

    @abstractmethod
    def of_layer(self, layer: int) -> Tensor:
        """Return keys and values of one layer, (length, 2 · width), computed alone."""

    @abstractmethod
    def drop_layers(self, dropped: Collection[int]) -> None:
        """Forget the prefixes of some layers; those after them move up."""

    def of_each_layer(self) -> tuple[Tensor, ...]:
        """Return keys and values of all layers, (length, 2 · width) each, computed together.

        The gradient of one computed alone is filled up with zeros to the size of that of all
        layers; the gradients of these are put side by side once.
        """
        return torch.split(self.of_all_layers(), 2 * self.width, dim=-1)

    def rows(self, both: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Return the keys and the values of one layer, both (batch, length, width)."""
        both = both.unsqueeze(0).expand(batch, -1, -1)
        keys, values = self.dropout(both).split(self.width, dim=-1)
        return keys, values

    def as_flat(self) -> "FlatPrefixes":
        """Return the same prefixes as free parameters, trainable if these are."""
        flat = FlatPrefixes(self.config.replace(flat=True), self.layers, self.width)
        trained = any(parameter.requires_grad for parameter in self.parameters())
        values = self.of_all_layers().detach().reshape(-1).clone()
        flat.control_trans = nn.Parameter(values, requires_grad=trained)
        return flat.train(self.training)

    def _columns(self, layer: int) -> slice:
        size = 2 * self.width
        return slice(layer * size, (layer + 1) * size)

    def _kept(self, dropped: Collection[int]) -> list[int]:
        """Return which of the columns, counted over all layers, belong to layers that stay."""
        size = 2 * self.width
        kept = [layer for layer in range(self.layers) if layer not in dropped]
        self.layers = len(kept)
        return [column for layer in kept for column in range(layer * size, (layer + 1) * size)]


class FlatPrefixes(Prefixes):
    """`control_trans` (length · layers · 2 · width): the prefixes themselves."""

    def __init__(self, config: PrefixTuningConfig, layers: int, width: int) -> None:
        super().__init__(config, layers, width)
        self.control_trans = nn.Parameter(torch.randn(self.length * layers * 2 * width))

    def of_all_layers(self) -> Tensor:
        return self.control_trans.view(self.length, -1)

    def of_layer(self, layer: int) -> Tensor:
        return self.of_all_layers()[:, self._columns(layer)]

    def drop_layers(self, dropped: Collection[int]) -> None:
        kept = self.control_trans.detach().view(self.length, -1)[:, self._kept(dropped)]
        self.control_trans = _like(self.control_trans, kept.reshape(-1))


class ReparameterisedPrefixes(Prefixes):
    """An embedding of `length` places, and an MLP from it to all keys and values."""

    def __init__(
        self, config: PrefixTuningConfig, layers: int, width: int, input_width: int
    ) -> None:
        super().__init__(config, layers, width)
        self.wte = nn.Embedding(self.length, input_width)
        self.control_trans = nn.Sequential(
            nn.Linear(input_width, config.bottleneck_size),
            Activation(config.non_linearity),
            nn.Linear(config.bottleneck_size, layers * 2 * width),
        )

    def of_all_layers(self) -> Tensor:
        both: Tensor = self.control_trans(self.wte.weight)
        return both

    def of_layer(self, layer: int) -> Tensor:
        inner = self.control_trans[:2](self.wte.weight)
        last, own = self._last(), self._columns(layer)
        return F.linear(inner, last.weight[own], last.bias[own])

    def drop_layers(self, dropped: Collection[int]) -> None:
        last, kept = self._last(), self._kept(dropped)
        for key, old in list(last.named_parameters()):
            setattr(last, key, _like(old, old.detach()[kept]))
        last.out_features = len(kept)

    def _last(self) -> nn.Linear:
        last = self.control_trans[2]
        assert isinstance(last, nn.Linear)
        return last


class PrefixGate(nn.Linear):
    """Gates of one attention: one for keys and values together, or one for each."""

    def __init__(self, width: int, config: PrefixTuningConfig) -> None:
        super().__init__(width, 1 if config.shared_gating else 2)
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gates, (batch, 1 or 2), of the attention's input (batch, tokens, width)."""
        return torch.sigmoid(super().forward(x)).mean(dim=1)


def new_prefixes(config: PrefixTuningConfig, layers: int, width: int, input_width: int) -> Prefixes:
    if config.flat:
        return FlatPrefixes(config, layers, width)
    return ReparameterisedPrefixes(config, layers, width, input_width)


def _like(old: nn.Parameter, value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.clone(), requires_grad=old.requires_grad)
