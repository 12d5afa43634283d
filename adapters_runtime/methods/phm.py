"""Hypercomplex multiplication: a linear map whose matrix is a sum of Kronecker products.

    y = x H + b,   H = sum over i of A_i ⊗ W_i,   A_i (n, n),   W_i (in / n, out / n)

Sources: Zhang et al. 2021, https://arxiv.org/abs/2102.08597, section 3; as the projections of a
bottleneck (Compacter), with A shared by all layers and W of low rank: Mahabadi et al. 2021,
https://arxiv.org/abs/2106.04647, section 4.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from adapters_runtime.configs import BnConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.methods.base import Sharing

Side = Literal["down", "up"]
Initialise = Callable[[Tensor], object]


class Tensors(nn.Module):
    """Tensors (n, rows, columns) by name, each whole or as the product of two factors."""

    def hold(
        self,
        name: str,
        shape: tuple[int, int, int],
        *,
        rank: int | None,
        initialise: Initialise,
        trained: bool = True,
    ) -> None:
        n, rows, columns = shape
        if rank is None:
            self._keep(name, shape, initialise, trained=trained)
        else:
            self._keep(f"{name}_left", (n, rows, rank), initialise, trained=trained)
            self._keep(f"{name}_right", (n, rank, columns), initialise, trained=trained)

    def _keep(
        self, name: str, shape: tuple[int, int, int], initialise: Initialise, *, trained: bool
    ) -> None:
        values = torch.empty(shape)
        initialise(values)
        if trained:
            self.register_parameter(name, nn.Parameter(values))
        else:
            self.register_buffer(name, values)

    def whole(self, name: str) -> Tensor | None:
        """Return a tensor by name, None when it is not held here."""
        if hasattr(self, name):
            tensor: Tensor = getattr(self, name)
            return tensor
        if hasattr(self, f"{name}_left"):
            return torch.bmm(getattr(self, f"{name}_left"), getattr(self, f"{name}_right"))
        return None


class PHM(Tensors, Sharing):
    """Holds what its configuration does not share: `phm_rule` (A), `W`, and the bias `b`."""

    config: BnConfig

    def __init__(self, inputs: int, outputs: int, side: Side, config: BnConfig) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.side = side
        self.config = config
        if inputs % config.phm_dim or outputs % config.phm_dim:
            raise ConfigError(
                f"phm_dim={config.phm_dim} must divide the width and the bottleneck, which are "
                f"{inputs} and {outputs} here; choose another phm_dim or reduction_factor"
            )
        if not config.shared_phm_rule:
            _hold_rule(self, config)
        if not config.shared_W_phm:
            _hold_weight(self, "W", inputs, outputs, config)
        self.b = nn.Parameter(torch.zeros(outputs)) if config.phm_bias else None

    @classmethod
    def build_shared(cls, fellows: Sequence["PHM"]) -> Tensors | None:
        config = fellows[0].config
        if not (config.shared_phm_rule or config.shared_W_phm):
            return None
        shared = Tensors()
        if config.shared_phm_rule:
            _hold_rule(shared, config)
        for side in ("down", "up") if config.shared_W_phm else ():
            sizes = {(phm.inputs, phm.outputs) for phm in fellows if phm.side == side}
            if len(sizes) > 1:
                raise ConfigError(
                    "shared_W_phm needs the same sizes in all layers, and here there are (in, out) "
                    f"= {sorted(sizes)}; give all layers one reduction_factor"
                )
            _hold_weight(shared, f"W_{side}", *sizes.pop(), config)
        return shared

    def use_shared(self, shared: nn.Module) -> None:
        assert isinstance(shared, Tensors)
        self._shared = (shared,)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.matmul(x, self.matrix())  # (..., in) x (in, out) -> (..., out)
        return y if self.b is None else y + self.b

    def matrix(self) -> Tensor:
        """Return H, (in, out)."""
        rule = self._find("phm_rule", "phm_rule")
        weight = self._find("W", f"W_{self.side}")
        product = torch.einsum("imp,iab->mapb", rule, weight)  # (n, in / n, n, out / n)
        return product.reshape(self.inputs, self.outputs)

    def _find(self, own: str, shared: str) -> Tensor:
        tensor = self.whole(own)
        if tensor is None:
            common = self._shared[0]
            assert isinstance(common, Tensors)
            tensor = common.whole(shared)
            # Layers may be on devices, and in types of numbers, of their own.
            if tensor is not None and self.b is not None:
                tensor = tensor.to(self.b)
        assert tensor is not None
        return tensor


def _hold_rule(tensors: Tensors, config: BnConfig) -> None:
    n = config.phm_dim
    rank = 1 if config.factorized_phm_rule else None
    # The product of two factors of this scale has the scale that was asked for.
    scale = config.phm_init_range if rank is None else math.sqrt(config.phm_init_range)
    tensors.hold(
        "phm_rule",
        (n, n, n),
        rank=rank,
        initialise=_random_rule(config.phm_c_init, scale),
        trained=config.learn_phm,
    )


def _random_rule(scheme: str, scale: float) -> Initialise:
    if scheme == "uniform":
        return lambda tensor: nn.init.uniform_(tensor, -scale, scale)
    return lambda tensor: nn.init.normal_(tensor, std=scale)


def _hold_weight(tensors: Tensors, name: str, inputs: int, outputs: int, config: BnConfig) -> None:
    n = config.phm_dim
    tensors.hold(
        name,
        (n, inputs // n, outputs // n),
        rank=config.phm_rank if config.factorized_phm_W else None,
        initialise=_random_weight(config),
    )


def _random_weight(config: BnConfig) -> Initialise:
    fills: dict[str, Initialise] = {
        "glorot-uniform": nn.init.xavier_uniform_,
        "glorot-normal": nn.init.xavier_normal_,
        "normal": lambda matrix: nn.init.normal_(matrix, std=config.phm_init_range),
    }
    scheme = config.hypercomplex_nonlinearity
    if scheme not in fills:
        raise ConfigError(
            f"hypercomplex_nonlinearity {scheme!r} is unknown; choose {', '.join(fills)}"
        )
    # One matrix at a time: of three dimensions torch would count the first as features.
    return lambda tensor: [fills[scheme](matrix) for matrix in tensor]
