"""Weights of several adapters side by side, so that one batched product serves rows of all.

Building a stack costs about as much as using it. So stacks are kept until a weight in them changes.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LIMIT = 16
"""How many set-ups are remembered; then all are forgotten."""

Stack = tuple[Tensor, ...]


class _Kept(NamedTuple):
    tensors: Sequence[Tensor]
    states: Sequence[tuple[int, int]]
    stack: Stack | None


class Stacks:
    """Stacks of one place, by set-up. They have no gradient; see `may_stack`."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}

    def get(
        self, setup: Hashable, tensors: Sequence[Tensor], build: Callable[[], Stack | None]
    ) -> Stack | None:
        """Return what `build` gives, or gave while `tensors` were as they are now."""
        states = [(t._version, t.data_ptr()) for t in tensors]  # noqa: SLF001  (has no public name)
        kept = self._kept.get(setup)
        if kept is not None and kept.states == states and _same(kept.tensors, tensors):
            return kept.stack
        # A stack made in inference mode could not be used where gradients pass through.
        with torch.inference_mode(False), torch.no_grad():
            stack = build()
        if len(self._kept) >= LIMIT:
            self._kept.clear()
        self._kept[setup] = _Kept(tensors, states, stack)
        return stack

    def clear(self) -> None:
        self._kept.clear()

    def __len__(self) -> int:
        return sum(kept.stack is not None for kept in self._kept.values())

    # Stacks are made anew where a copy of the model, or another process, needs them.
    def __deepcopy__(self, memo: dict[int, object]) -> "Stacks":
        return Stacks()

    def __reduce__(self) -> tuple[type["Stacks"], tuple[()]]:
        return Stacks, ()


def may_stack(tensors: Sequence[Tensor]) -> bool:
    """Return whether a stack without gradients does, and changes of the tensors can be seen."""
    if torch.compiler.is_compiling() or any(tensor.is_inference() for tensor in tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def stacked(matrices: Sequence[Tensor]) -> Tensor:
    """Put matrices on one another, filled up with zeros behind their last rows and columns."""
    rows, columns = (max(matrix.shape[dim] for matrix in matrices) for dim in (0, 1))
    return torch.stack(
        [F.pad(m, (0, columns - m.shape[1], 0, rows - m.shape[0])) for m in matrices]
    )


@lru_cache(maxsize=256)
def index(choice: tuple[int, ...], device: torch.device) -> Tensor:
    """Return which of a stack each row takes, (rows,)."""
    with torch.inference_mode(False):
        return torch.tensor(choice, device=device)


def _same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(our is their for our, their in zip(ours, theirs, strict=True))
