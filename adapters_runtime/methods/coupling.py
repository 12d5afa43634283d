"""The small networks that couple the halves of the features in invertible adapters."""

from torch import nn

from adapters_runtime.methods.activations import Activation


def coupling(inputs: int, outputs: int, reduction_factor: float, activation: str) -> nn.Sequential:
    """Return a bottleneck from one half of the features to an offset (and scale) of the other."""
    hidden = max(1, int(inputs // reduction_factor))
    down, up = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    for layer in (down, up):
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(down, Activation(activation), up)
