"""Points at modules that a configuration names by their paths; see `addressed_placement`."""

import copy
from collections.abc import Sequence
from inspect import Parameter, signature
from typing import TypeVar

from torch import Tensor, nn

from adapters_runtime.composition import Child
from adapters_runtime.configs import (
    AdapterConfig,
    OwnBiasesConfig,
    OwnModulesConfig,
    PeftIA3Config,
    PeftLoRAConfig,
)
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.linear_point import LinearPoint, LinearState, Location
from adapters_runtime.inject.point import Point
from adapters_runtime.methods.addressed_ia3 import RescaledInput, RescaledOutput
from adapters_runtime.methods.addressed_lora import AddressedEmbeddingLoRA, AddressedLoRA
from adapters_runtime.methods.own_bias import OwnBias

L = TypeVar("L", bound=AddressedLoRA)

_CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)  # noqa: SLF001
"""Modules whose output has its features in the second dimension, not the last."""
_NEVER_RUN = ("rel_embeddings",)
"""DeBERTa's."""


class AddressedPoint(LinearPoint):
    """One module; `path` is the one by which configurations name it.

    `twins` are the paths of other modules that have its weight: an output embedding, say.
    """

    def __init__(
        self,
        path: str,
        layer: int | None,
        activations: Activations,
        module: nn.Module,
        twins: Sequence[str],
    ) -> None:
        if path.rpartition(".")[2] in _NEVER_RUN:
            raise ConfigError(
                f"the model reads the weight of {path} and never runs it: an adapter there would "
                "have no effect"
            )
        super().__init__(path, layer, activations, module, Location("module"), widths=[1])
        self.twins = tuple(twins)
        self._tied: list[nn.Parameter] = []
        """The weight shared with the twins, while something is merged into a copy of it."""

    @staticmethod
    def wanted(config: AdapterConfig) -> Sequence[str]:
        """Return the paths of the modules where a configuration wants such a point."""
        raise NotImplementedError

    def build(self, config: AdapterConfig) -> nn.Module | None:
        return self.make(config) if self.path in self.wanted(config) else None

    def make(self, config: AdapterConfig) -> nn.Module:
        """Return a new adapter, as a configuration that names this module wants it."""
        raise NotImplementedError

    def add(self, name: str, config: AdapterConfig) -> bool:
        # LinearPoint would ask which parts of a fused map are adapted. Here all of it is.
        self.parts[name] = [0]
        return Point.add(self, name, config)

    def replace(self, name: str, tensor: Tensor, new: Tensor, dim: int) -> Tensor:
        return new

    def _keep(self, key: str, new: Tensor) -> None:
        if key != "weight" or not self.twins:
            super()._keep(key, new)
            return
        # The adapter changes this module alone: its twins keep the weight they had in common.
        tied = self.host.module.get_parameter(key)
        self._tied.append(tied)
        self.host.module.weight = nn.Parameter(new.clone(), tied.requires_grad)

    def reset(self) -> None:
        while self._tied:
            self.host.module.weight = self._tied.pop()
        super().reset()


class PathLinearPoint(AddressedPoint):
    """LoRA or (IA)³ at one linear map, or LoRA at one embedding."""

    @staticmethod
    def wanted(config: AdapterConfig) -> Sequence[str]:
        return tuple(config.paths()) if isinstance(config, PeftLoRAConfig | PeftIA3Config) else ()

    def make(self, config: AdapterConfig) -> nn.Module:
        module = self.host.module
        if isinstance(config, PeftLoRAConfig) and isinstance(module, nn.Embedding):
            lora = self._lora(AddressedEmbeddingLoRA, config)
            lora.output_scale = float(getattr(module, "embed_scale", 1.0))
            return lora
        if not is_linear(module):
            raise ConfigError(
                f"{self.path} is a {type(module).__name__}; {config.architecture} adapts linear "
                "maps only, and peft_lora embeddings as well"
            )
        if isinstance(config, PeftLoRAConfig):
            return self._lora(AddressedLoRA, config)
        assert isinstance(config, PeftIA3Config)
        kind = RescaledOutput if self.path in config.outputs else RescaledInput
        return kind(self._weight())

    def _lora(self, kind: type[L], config: PeftLoRAConfig) -> L:
        weight = self._weight()
        lora = kind(weight, config.ranks[self.path], config.scalings[self.path], config.dropout)
        if config.lora_bias:
            lora.add_bias()
        if config.use_dora:
            lora.add_magnitude(weight)
        return lora


class OwnBiasPoint(AddressedPoint):
    """A bias in the place of a module's."""

    container = "own_biases"
    merges_first = True

    @staticmethod
    def wanted(config: AdapterConfig) -> Sequence[str]:
        return config.modules if isinstance(config, OwnBiasesConfig) else ()

    def make(self, config: AdapterConfig) -> nn.Module:
        bias = self._bias()
        if bias is None:
            raise ConfigError(f"{self.path} has no bias that another one could stand in for")
        return OwnBias(bias, features=1 if isinstance(self.host.module, _CHANNELS_FIRST) else -1)

    def _fold_in(self, name: str) -> None:
        method = self.adapters[name]
        assert isinstance(method, OwnBias)
        self._keep("bias", method.bias)

    def _side_by_side(self, children: Sequence[Child], state: LinearState) -> None:
        return None  # a bias is no product


class OwnModulePoint(AddressedPoint):
    """A module in the place of the model's, which runs in vain while the other is active."""

    container = "own_modules"

    @staticmethod
    def wanted(config: AdapterConfig) -> Sequence[str]:
        return tuple(config.modules) if isinstance(config, OwnModulesConfig) else ()

    def make(self, config: AdapterConfig) -> nn.Module:
        assert isinstance(config, OwnModulesConfig)
        if _inputs(self.host.module) > 1:
            raise ConfigError(
                f"{self.path} is a {type(self.host.module).__name__}, which takes several inputs; "
                "an adapter can have modules of its own where there is one"
            )
        own = _copy_without_hooks(self.host.module)
        found = {key: tuple(tensor.shape) for key, tensor in own.state_dict().items()}
        if found != (wanted := dict(config.modules[self.path])):
            raise ConfigError(f"{self.path} of the model has {found}, the adapter's has {wanted}")
        return own

    def leaf(self, name: str, state: LinearState) -> LinearState:
        return LinearState(state.x, self.adapters[name](state.x))

    def _fold_in(self, name: str) -> None:
        for key, parameter in self.adapters[name].named_parameters():
            self._keep(key, parameter)


POINTS: tuple[type[AddressedPoint], ...] = (PathLinearPoint, OwnBiasPoint, OwnModulePoint)


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear map; GPT-2's Conv1D is one, by another name."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _inputs(module: nn.Module) -> int:
    """Return how many inputs a module takes, those by name among them."""
    named = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return sum(each.kind in named for each in signature(module.forward).parameters.values())


def _copy_without_hooks(module: nn.Module) -> nn.Module:
    """Return a copy; hooks refer to points, which are not to be copied with it."""
    hooks = [
        value
        for child in module.modules()
        for name, value in vars(child).items()
        if "hooks" in name and isinstance(value, dict)
    ]
    # What the memo holds is taken for the copy of the object with that id.
    return copy.deepcopy(module, {id(value): type(value)() for value in hooks})
