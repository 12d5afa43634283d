"""Bottlenecks of which each row of a batch has one of its own, as batched products."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from adapters_runtime.inject.stacks import index


class Groups(NamedTuple):
    """The rows of a batch, those of one child side by side, and as many for each child."""

    rows: Tensor
    """(children * most,): which row stands there; one of the others where a child has fewer."""
    back: Tensor
    """(rows,): where each row stands."""


def bottlenecks(
    x: Tensor, stack: Sequence[Tensor], choice: tuple[int, ...], activation: Callable[..., Tensor]
) -> Tensor:
    """Return f(x D + d) U + u for x, (rows, length, width), with the matrices that a row chooses.

    `stack` is (D, d, U, u), each with one more dimension for the children. Rows of one child are
    multiplied together where moving them takes less than a copy of its matrices for each row.
    """
    children = len(stack[0])
    most = max(map(choice.count, set(choice)))
    copied = len(choice) * sum(part[0].numel() for part in stack)
    moved = (children * most + len(choice)) * x[0].numel()
    if copied <= moved:
        chosen = index(choice, x.device)
        return _apply(x, [part[chosen] for part in stack], activation)
    groups = _grouped(choice, children, most, x.device)
    together = x[groups.rows].view(children, -1, x.shape[-1])
    return _apply(together, stack, activation).view(-1, *x.shape[1:])[groups.back]


def _apply(x: Tensor, parts: Sequence[Tensor], activation: Callable[..., Tensor]) -> Tensor:
    down, down_bias, up, up_bias = parts
    return torch.baddbmm(up_bias, activation(torch.baddbmm(down_bias, x, down)), up)


@lru_cache(maxsize=256)
def _grouped(choice: tuple[int, ...], children: int, most: int, device: torch.device) -> Groups:
    places = [0] * (children * most)
    back, filled = [], [0] * children
    for row, child in enumerate(choice):
        place = child * most + filled[child]
        places[place] = row
        filled[child] += 1
        back.append(place)
    with torch.inference_mode(False):
        return Groups(torch.tensor(places, device=device), torch.tensor(back, device=device))
