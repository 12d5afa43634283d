"""Tensors that all modules of an adapter have in common, owned here once.

Compacters share a rule, or all of their matrices; VeRA shares two frozen random matrices.
"""

from collections.abc import Iterator, Sequence

from torch import nn

from adapters_runtime.configs import AdapterConfig
from adapters_runtime.context import Activations
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.point import Point, seeded
from adapters_runtime.methods.base import Sharing


class SharedPoint(Point):
    """No place of the model: it holds what the adapters at `points` share.

    It comes after them, because what they share follows from what they are.
    """

    container = "shared_parameters"

    def __init__(
        self, path: str, activations: Activations, kind: type[Sharing], points: Sequence[Point]
    ) -> None:
        super().__init__(path, None, activations)
        self.kind = kind
        self.points = tuple(points)  # not a ModuleList: they belong to the bank

    def add(self, name: str, config: AdapterConfig) -> bool:
        fellows = self._fellows(name, config)
        if not fellows:
            return False
        with seeded(getattr(config, "init_weights_seed", None)):
            shared = self.kind.build_shared(fellows)
        if shared is None:
            return False
        if name in self.adapters:
            raise ConfigError(
                f"two parts of the union share tensors of {self.kind.__name__} modules, and a file "
                "holds such tensors only once; let one part share nothing"
            )
        self.adapters[name] = shared.to(self.place, self.near.dtype)
        for fellow in fellows:
            fellow.use_shared(shared)
        return True

    def _fellows(self, name: str, config: AdapterConfig) -> list[Sharing]:
        return [
            module
            for point in self.points
            if name in point.adapters
            for module in point.adapters[name].modules()
            if isinstance(module, self.kind) and module.config is config
        ]

    def parameters_near(self) -> Iterator[tuple[nn.Module, nn.Parameter]]:
        return self.points[0].parameters_near()
