"""Points made on demand, where a configuration names modules by their paths.

The architecture's specification knows the places of AdapterHub's methods; PEFT's may stand at any
linear map, at embeddings, and in heads, which are outside of the base.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from torch import nn

from adapters_runtime.architectures import Architecture, Layer, list_layers
from adapters_runtime.configs import AdapterConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.addressed_point import POINTS, AddressedPoint
from adapters_runtime.inject.flattened import unflatten


class Addresses:
    """The modules of a model by their paths, and how its layers are counted."""

    def __init__(self, base: nn.Module, model: nn.Module, architecture: Architecture) -> None:
        self.base = base
        self.model = model
        self.architecture = architecture

    def new_points(
        self, config: AdapterConfig, known: Sequence[AddressedPoint], activations: Activations
    ) -> Iterator[AddressedPoint]:
        """Yield a point for each module that a configuration names, unless it is among `known`.

        Raises ConfigError for a path that leads to no module.
        """
        taken = {(type(point), point.path) for point in known}
        for kind in POINTS:
            for path in kind.wanted(config):
                if (kind, path) not in taken:
                    module = self.find(path)
                    twins = [
                        twin for twin in self._holders(module) if self.find(twin) is not module
                    ]
                    yield self._point(kind, path, activations, module, twins)

    def find(self, path: str) -> nn.Module:
        for root in (self.base, self.model):
            try:
                return root.get_submodule(path)
            except AttributeError:
                continue
        raise ConfigError(f"{type(self.model).__name__} has no module {path!r}")

    def _point(
        self,
        kind: type[AddressedPoint],
        path: str,
        activations: Activations,
        module: nn.Module,
        twins: Sequence[str],
    ) -> AddressedPoint:
        inside = (layer for layer in self._layers if path.startswith(f"{layer.path}."))
        layer = next(inside, None)
        point = kind(path, None if layer is None else layer.index, activations, module, twins)
        if layer is not None and layer.stack.flattens:
            unflatten(point, self.base.get_submodule(layer.path))
        return point

    @cached_property
    def _layers(self) -> tuple[Layer, ...]:
        return list_layers(self.architecture, [name for name, _ in self.base.named_parameters()])

    def _holders(self, module: nn.Module) -> list[str]:
        return self._by_weight[id(module.weight)] if hasattr(module, "weight") else []

    @cached_property
    def _by_weight(self) -> dict[int, list[str]]:
        """Paths of the modules that have a weight, by its identity."""
        found: dict[int, list[str]] = defaultdict(list)
        for path, module in self.model.named_modules():
            for key, parameter in module.named_parameters(recurse=False):
                if key == "weight":
                    found[id(parameter)].append(path)
        return found
