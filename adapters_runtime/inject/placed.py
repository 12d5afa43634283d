"""One layer of a specification, and where it is in a model."""

from torch import nn

from adapters_runtime.architectures import Layer
from adapters_runtime.inject.paths import find, path_within


class PlacedLayer:
    """One layer, its modules, and the names that AdapterHub's files have for them."""

    def __init__(self, layer: Layer, base: nn.Module) -> None:
        self.stack = layer.stack
        self.index = layer.index
        self.saved_path = layer.saved_path
        self.module = find(base, layer.path)
        self.config = base.config.get_text_config()  # type: ignore[operator, union-attr]

    def find(self, path: str) -> nn.Module:
        return find(self.module, path)

    def saved_as(self, path: str) -> str:
        return f"{self.saved_path}.{self.stack.saved_as(path_within(self.module, path))}"
