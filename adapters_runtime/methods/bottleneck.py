"""Bottleneck adapters: projection down, activation, projection up, in the residual stream.

    sequential:  y = h' + s · W_up f(W_down x),   x = norm(h + r) or h
    parallel:    y = h + s · W_up f(W_down r)

h is the sub-layer's output and r the residual stream that the model adds to it. Sources: Houlsby et
al. 2019, https://arxiv.org/abs/1902.00751, section 2.1; Pfeiffer et al. 2020,
https://arxiv.org/abs/2005.00247; parallel: He et al. 2021, https://arxiv.org/abs/2110.04366,
section 3.3; Adapter+: Steitz & Roth 2024, https://arxiv.org/abs/2406.06820.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from adapters_runtime.configs import BnConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.methods.activations import Activation
from adapters_runtime.methods.phm import PHM, Side

Norm = Callable[[Tensor], Tensor]


class Bottleneck(nn.Module):
    """One bottleneck; `adapter_down` is (norm?, W_down, f), as AdapterHub's files number them."""

    def __init__(self, width: int, reduction_factor: float, config: BnConfig) -> None:
        super().__init__()
        self.config = config
        hidden = max(1, int(width // reduction_factor))
        down: list[nn.Module] = [nn.LayerNorm(width)] if config.ln_before else []
        down += [_projection(width, hidden, "down", config), Activation(config.non_linearity)]
        self.adapter_down = nn.Sequential(*down)
        self.adapter_up = _projection(hidden, width, "up", config)
        self.adapter_norm_after = nn.LayerNorm(width) if config.ln_after else None
        self.gate = nn.Linear(width, 1) if config.use_gating else None
        self.scaling = _scaling(config.scaling, width)
        self.dropout = nn.Dropout(config.dropout)
        self._initialise()

    def _initialise(self) -> None:
        first, last = self.adapter_down[-2], self.adapter_up
        if isinstance(first, nn.Linear) and isinstance(last, nn.Linear):
            _initialise(first, last, self.config.init_weights)
        if self.gate is not None:
            nn.init.normal_(self.gate.weight, std=0.02)
            nn.init.zeros_(self.gate.bias)

    @property
    def completes(self) -> bool:
        """Whether what this gives has the sub-block's residual and norm in it already."""
        return not self.config.original_ln_after

    @property
    def activation(self) -> nn.Module:
        return self.adapter_down[-1]

    @property
    def form(self) -> tuple[object, ...]:
        """What bottlenecks have in common that differ in their matrices only."""
        config = self.config
        return (
            config.is_parallel,
            config.original_ln_before,
            config.original_ln_after,
            config.residual_before_ln,
            config.non_linearity,
        )

    @property
    def adds_to_h(self) -> bool:
        """Whether a bottleneck that gives zeros changes nothing."""
        config = self.config
        return not self.completes and (config.is_parallel or config.residual_before_ln is True)

    def prepare(self, h: Tensor, r: Tensor, norm: Norm | None) -> tuple[Tensor, Tensor]:
        """Return (what goes down, what the result is added to), both (batch, length, width).

        `norm` is the model's own, of a post-LN block; pre-LN blocks have none after the addition.
        """
        config = self.config
        if config.is_parallel:
            return r, h
        x, residual = h, h
        if config.original_ln_before:
            x = h + r
            if config.residual_before_ln == "post_add":
                residual = x
            if norm is not None:
                x = norm(x)
        if not config.residual_before_ln:
            residual = x
        return x, residual

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        if self._only_adds:
            up = self.adapter_up(self.adapter_down(self._cast(x)))
            assert isinstance(self.scaling, float)
            return torch.add(residual, self._dropped(up), alpha=self.scaling)
        out = self.update(x)
        # A parallel adapter is added to the sub-layer's output as it stands, after its own norm.
        early = self.config.adapter_residual_before_ln and not self.config.is_parallel
        if early:
            out = out + residual
        if self.adapter_norm_after is not None:
            out = self.adapter_norm_after(out)
        return out if early else out + residual

    def update(self, x: Tensor) -> Tensor:
        """Return the scaled and gated output of the up projection, (batch, length, width)."""
        up = self._dropped(self.project(x))
        return up if self.gate is None else up * self.gate_values(x)

    @property
    def _only_adds(self) -> bool:
        """Whether the result is residual + s · U f(D x), in which s costs no operation."""
        plain = self.gate is None and self.adapter_norm_after is None
        return plain and isinstance(self.scaling, float)

    def _dropped(self, up: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(up)
        return _drop_rows(dropped, self.config.stochastic_depth, training=self.training)

    def matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Return D (in, k), c (1, k), U (k, out), d (1, out) if `update` is f(x D + c) U + d.

        None when there is more to it.
        """
        config = self.config
        drops = self.training and (config.dropout > 0.0 or config.stochastic_depth > 0.0)
        if drops or self.gate is not None or config.ln_before or config.ln_after:
            return None
        down, up = (_matrix(part) for part in (self.adapter_down[0], self.adapter_up))
        return *down, up[0] * self.scaling, up[1] * self.scaling

    def project(self, x: Tensor) -> Tensor:
        up: Tensor = self.adapter_up(self.adapter_down(self._cast(x)))
        # Multiplying by one is an operation on every token; most configurations do not scale.
        return up if isinstance(self.scaling, float) and self.scaling == 1.0 else up * self.scaling

    def _cast(self, x: Tensor) -> Tensor:
        # Transformers keeps parts of some models in float32: T5's, for one.
        return x.to(next(self.adapter_up.parameters(), x).dtype)

    def gate_values(self, x: Tensor) -> Tensor:
        """Return one gate per row, (batch, 1, 1): UniPELT's mean of sigmoids over tokens."""
        assert self.gate is not None
        return torch.sigmoid(self.gate(self._cast(x))).mean(dim=1, keepdim=True)


def _initialise(down: nn.Linear, up: nn.Linear, scheme: str) -> None:
    if scheme == "mam_adapter":
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
        nn.init.zeros_(up.weight)
    for linear in (down, up):
        if scheme == "bert":
            nn.init.normal_(linear.weight, std=0.02)
        elif scheme == "houlsby":
            nn.init.trunc_normal_(linear.weight, std=0.01, a=-0.02, b=0.02)
        nn.init.zeros_(linear.bias)


def _matrix(projection: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the matrix (in, out) and the bias (1, out) of a projection."""
    if isinstance(projection, PHM):
        matrix, bias = projection.matrix(), projection.b
    else:
        assert isinstance(projection, nn.Linear)
        matrix, bias = projection.weight.t(), projection.bias
    return matrix, matrix.new_zeros(1, matrix.shape[1]) if bias is None else bias[None]


def _projection(inputs: int, outputs: int, side: Side, config: BnConfig) -> nn.Module:
    if config.phm_layer:
        return PHM(inputs, outputs, side, config)
    return nn.Linear(inputs, outputs)


def _scaling(scaling: float | str, width: int) -> float | nn.Parameter:
    if scaling == "learned":
        return nn.Parameter(torch.ones(1))
    if scaling == "channel":
        return nn.Parameter(torch.ones(width))
    if isinstance(scaling, str):
        raise ConfigError(f"scaling {scaling!r} is unknown; give a number, learned or channel")
    return float(scaling)


def _drop_rows(x: Tensor, probability: float, *, training: bool) -> Tensor:
    """Stochastic depth (Huang et al. 2016, https://arxiv.org/abs/1603.09382): drop whole rows."""
    if not training or probability == 0.0:
        return x
    keep = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= probability
    return x * keep.to(x.dtype) / (1.0 - probability)
