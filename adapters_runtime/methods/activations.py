"""Activation functions by the names that configurations use."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN, get_activation

from adapters_runtime.errors import ConfigError


class Activation(nn.Module):
    """A named activation without parameters, (...) -> (...)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name.lower()
        if self.name == "leakyrelu":
            self.function: Callable[[Tensor], Tensor] = F.leaky_relu
        elif self.name in ACT2FN:
            self.function = get_activation(self.name)
        else:
            known = ", ".join(sorted(ACT2FN))
            raise ConfigError(
                f"non_linearity {name!r} is unknown; choose one of: leakyrelu, {known}"
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
