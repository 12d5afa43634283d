"""A bias of an adapter's own in the place of a module's: y = x Wᵀ + b'.

Ben Zaken et al. 2021, https://arxiv.org/abs/2106.10199 train nothing else; checkpoints of LoRA may
hold biases too.
"""

from torch import Tensor, nn

from adapters_runtime.methods.base import Host, LinearMethod


class OwnBias(LinearMethod):
    """`bias` (out), starting from the module's."""

    def __init__(self, bias: Tensor, features: int = -1) -> None:
        """`features`: the dimension of the output that has one entry for each of the bias."""
        super().__init__()
        self.bias = nn.Parameter(bias.detach().clone())
        self.features = features

    def adapt(self, x: Tensor, y: Tensor, host: Host) -> Tensor:
        # The difference, so that what other adapters have added to y stays.
        bias = host.bias()
        added = self.bias if bias is None else self.bias - bias
        shape = [1] * y.dim()
        shape[self.features] = -1
        return y + added.view(shape)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight, self.bias.detach().clone()
