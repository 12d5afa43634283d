"""ReFT: edit the hidden states of a few positions in a subspace of small rank.

    LoReFT:  h' = h + Rᵀ (f(W h + b) - R h)      the rows of R are orthonormal
    NoReFT:  the same, R without that constraint
    DiReFT:  h' = h + Rᵀ f(W h + b)

Source: Wu et al. 2024, https://arxiv.org/abs/2404.03592, sections 3.2 and 3.3. The first positions
of a text and its last ones are edited, each end by a unit of its own unless the two are tied.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime.configs import ReftConfig
from adapters_runtime.errors import ConfigError
from adapters_runtime.methods.activations import Activation


class Texts(NamedTuple):
    """Where the text of each row begins and ends, (batch,): `end` is behind its last position.

    They count from the first position at hand. Both may lie outside of what is at hand: in cached
    generation, only the newest position is.
    """

    first: Tensor
    end: Tensor


class ReFT(nn.Module):
    """`units` are those of the first and of the last positions, or the one of both.

    AdapterHub's files hold a unit for an end without positions too: it has no effect, so that
    training leaves it as it is. Data-parallel training waits for the gradient of all it trains.
    """

    def __init__(self, width: int, config: ReftConfig) -> None:
        super().__init__()
        self.prefix = config.prefix_positions
        self.suffix = config.suffix_positions
        count = 1 if config.tied_weights else 2
        self.units = nn.ModuleList([Unit(width, config) for _ in range(count)])
        self.requires_grad_(False)
        for parameter in self.used_parameters():
            parameter.requires_grad_(True)

    def used_parameters(self) -> Iterator[nn.Parameter]:
        if self.prefix:
            yield from self.units[0].parameters()
        if self.suffix and (len(self.units) > 1 or not self.prefix):
            yield from self.units[-1].parameters()

    def forward(self, hidden: Tensor, texts: Texts) -> Tensor:
        """Hidden and the result are (batch, length, width)."""
        edited = hidden
        if self.prefix:
            # A position that both ends claim, in a short text, belongs to the last ones.
            stop = texts.end - self.suffix if self.suffix else texts.end
            at = texts.first[:, None] + torch.arange(self.prefix, device=hidden.device)
            edited = _edit(edited, hidden, at, at < stop[:, None], self.units[0])
        if self.suffix:
            offsets = torch.arange(-self.suffix, 0, device=hidden.device)
            at = texts.end[:, None] + offsets
            edited = _edit(edited, hidden, at, at >= texts.first[:, None], self.units[-1])
        return edited


def _edit(edited: Tensor, hidden: Tensor, at: Tensor, wanted: Tensor, unit: nn.Module) -> Tensor:
    """Add what a unit changes at some positions, (batch, positions), where it is wanted."""
    length = hidden.shape[1]
    wanted = wanted & (at >= 0) & (at < length)
    index = at.clamp(0, length - 1)[..., None].expand(-1, -1, hidden.shape[2])
    change = unit(hidden.gather(1, index)) * wanted[..., None]
    return edited.scatter_add(1, index, change.to(hidden.dtype))


class Unit(nn.Module):
    """`learned_source` is W and b, `projection` R, (r, width)."""

    def __init__(self, width: int, config: ReftConfig) -> None:
        super().__init__()
        self.subtract = config.subtract_projection
        self.learned_source = nn.Linear(width, config.r)
        self.projection: OrthonormalRows | nn.Linear = (
            OrthonormalRows(config.r, width)
            if config.orthogonality
            else nn.Linear(width, config.r, bias=False)
        )
        self.activation = None if config.non_linearity is None else Activation(config.non_linearity)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Return h' - h, (..., width)."""
        rows: Tensor = self.projection.weight
        h = h.to(rows.dtype)
        source = self.learned_source(h)
        if self.activation is not None:
            source = self.activation(source)
        if self.subtract:
            source = source - F.linear(h, rows)
        change = F.linear(source, rows.t())
        if self.training and self.dropout.p > 0.0:
            # The reference implementation of the paper drops features of h', not of the change.
            dropped: Tensor = self.dropout(h + change)
            return dropped - h
        return change


class OrthonormalRows(nn.Module):
    """A matrix (r, width) with orthonormal rows, whatever the parameter holds.

    It is B times the product of r Householder reflections, whose vectors lie below the diagonal of
    the parameter. Names and meaning of the tensors are those of torch's own parametrisation, which
    AdapterHub's files hold; torch's module itself could not be pickled.
    """

    def __init__(self, rank: int, width: int) -> None:
        super().__init__()
        if rank >= width:
            raise ConfigError(
                f"r={rank} rows of a projection cannot be kept orthonormal in {width} features; "
                "choose a smaller r"
            )
        self.parametrizations = nn.ModuleDict({"weight": _Reflections(rank, width)})

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.parametrizations["weight"]()
        return weight


class _Reflections(nn.ModuleList):
    """`original` (r, width), and `0.base`, an orthogonal matrix (width, width) that stays.

    Of the diagonal of `original`, only the signs count, though weight decay may make it shrink.
    Torch's parametrisation cuts it to whole numbers, so that a row vanishes whose entry has shrunk:
    a saved state has the signs themselves, and one from elsewhere is read as torch reads it.
    """

    def __init__(self, rank: int, width: int) -> None:
        base = nn.Module()
        reflected, scales = torch.geqrf(torch.randn(width, rank))
        base.register_buffer("base", torch.ormqr(reflected, scales, torch.eye(width)))
        super().__init__([base])
        # No vectors below the diagonal: the rows start as the first rows of the random base.
        self.original = nn.Parameter(-torch.eye(rank, width))

    def forward(self) -> Tensor:
        tall = self.original.t().float()  # (width, r)
        below = tall.tril(diagonal=-1)
        scales = 2.0 / (1.0 + (below * below).sum(dim=0))
        columns = torch.linalg.householder_product(below, scales)
        columns = columns * tall.diagonal().sign()
        base = self[0].get_buffer("base")
        return torch.matmul(base, columns.to(base.dtype)).t()

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        key = f"{prefix}original"
        destination[key] = _with_diagonal(destination[key], torch.sign)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **options: Any
    ) -> None:
        key = f"{prefix}original"
        if key in state_dict:
            state_dict[key] = _with_diagonal(state_dict[key], torch.trunc)
        super()._load_from_state_dict(state_dict, prefix, *rest, **options)


def _with_diagonal(matrix: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    changed = matrix.detach().clone()
    changed.diagonal().copy_(change(changed.diagonal()))
    return changed
