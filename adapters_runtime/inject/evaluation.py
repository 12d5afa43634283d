"""Composition blocks evaluated over one place of the model.

The tree is walked here and nowhere else. A place answers for single adapters, and says how its
state (the tensors that an adapter reads and replaces) is cut and put together.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from adapters_runtime.composition import (
    AdapterCompositionBlock,
    Average,
    BatchSplit,
    Child,
    Fuse,
    MultiTask,
    Parallel,
    Split,
    Stack,
)
from adapters_runtime.errors import InvalidComposition, UnsupportedComposition
from adapters_runtime.rows import PerRow

State = TypeVar("State")

ROWS, TOKENS = 0, 1
"""Dimensions along which a state is cut."""


class Place(ABC, Generic[State]):
    """What `evaluate` asks of a place of the model."""

    method: str
    """How errors call what stands here."""
    blocks: tuple[type[AdapterCompositionBlock], ...]
    """Blocks that have a meaning here."""

    @abstractmethod
    def holds(self, name: str) -> bool: ...

    @abstractmethod
    def leaf(self, name: str, state: State) -> State: ...

    @abstractmethod
    def size(self, state: State, dim: int) -> int: ...

    @abstractmethod
    def cut(self, state: State, dim: int, start: int, stop: int) -> State: ...

    @abstractmethod
    def join(self, states: Sequence[State], dim: int) -> State: ...

    @abstractmethod
    def mean(self, states: Sequence[State], weights: Sequence[float]) -> State: ...

    def turn_to(self, positions: Sequence[int] | None) -> tuple[int, ...] | None:
        """Hear on which of the rows at hand leaves work from now on; return those at hand so far.

        None stands for all of them. Only reports need to know.
        """
        return None

    def turn_back(self, rows: tuple[int, ...] | None) -> None:
        """Hear that leaves work on what `turn_to` has returned again."""

    def weight_of_base(self, block: Average) -> float:
        """Return how much of the state itself an average needs beside its children's states."""
        return 0.0

    def together(
        self, children: Sequence[Child], choice: tuple[int, ...], state: State
    ) -> State | None:
        """Let child `choice[i]` work on row i, in a few products for all rows.

        None where it takes more than that; then each child works on its rows by itself.
        """
        return None

    def averaged(self, block: Average, state: State) -> State | None:
        """Return the average in as few products as one adapter takes; None where that cannot be."""
        return None

    def fuse(self, block: Fuse, state: State) -> State:
        raise UnsupportedComposition(self.method, "Fuse", [b.__name__ for b in self.blocks])


def missing_weight(block: Average) -> float:
    """Return what the weights of an average lack of one; they lack nothing by default."""
    total = sum(block.weights)
    return 0.0 if math.isclose(total, 1.0, rel_tol=1e-6) else 1.0 - total


def evaluate(place: Place[State], block: AdapterCompositionBlock | str, state: State) -> State:
    """Return the state after `block`; adapters that do not stand at this place change nothing."""
    if isinstance(block, str):
        return place.leaf(block, state) if place.holds(block) else state
    if not any(place.holds(name) for name in block.flatten()):
        return state
    if isinstance(block, MultiTask):
        raise InvalidComposition(
            f"{block} needs to know the task of each row: call the model with task_ids=[...], a "
            "number or a name for each"
        )
    if not _has_meaning(place, block):
        supported = [known.__name__ for known in place.blocks]
        raise UnsupportedComposition(place.method, type(block).__name__, supported)
    if isinstance(block, Stack):
        for child in block:
            state = evaluate(place, child, state)
        return state
    if isinstance(block, Fuse):
        return place.fuse(block, state)
    if isinstance(block, Average):
        return _average(place, block, state)
    return _by_shares(place, block, state)


def _average(place: Place[State], block: Average, state: State) -> State:
    averaged = place.averaged(block, state)
    if averaged is not None:
        return averaged
    states = [evaluate(place, child, state) for child in block]
    rest = place.weight_of_base(block)
    if rest:
        return place.mean([*states, state], [*block.weights, rest])
    return place.mean(states, block.weights)


def _by_shares(place: Place[State], block: AdapterCompositionBlock, state: State) -> State:
    if isinstance(block, PerRow):
        rows = place.size(state, ROWS)
        together = place.together(block.children, block.chosen(rows), state)
        return _by_rows(place, block, state) if together is None else together
    dim, sizes = _layout(place, block, state)
    if dim == ROWS:
        choice = tuple(child for child, size in enumerate(sizes) for _ in range(size))
        together = place.together(block.children, choice, state)
        if together is not None:
            return together
    return _in_shares(place, block, state, dim, sizes)


def _has_meaning(place: Place[State], block: AdapterCompositionBlock) -> bool:
    # Where rows can be shared out among adapters, they can be in any order.
    kind = BatchSplit if isinstance(block, PerRow) else type(block)
    return issubclass(kind, place.blocks)


def _in_shares(
    place: Place[State],
    block: AdapterCompositionBlock,
    state: State,
    dim: int,
    sizes: Sequence[int],
) -> State:
    """Let each child work on its share of the state, one after the other along `dim`."""
    done = []
    for child, (start, stop) in zip(block, _bounds(sizes), strict=True):
        if start == stop:
            continue
        former = place.turn_to(range(start, stop) if dim == ROWS else None)
        done.append(evaluate(place, child, place.cut(state, dim, start, stop)))
        place.turn_back(former)
    joined: State = place.join(done, dim)
    return joined


def _by_rows(place: Place[State], block: PerRow, state: State) -> State:
    """Bring rows of one set-up together, and back to where they were."""
    groups = block.groups(place.size(state, ROWS))
    if groups.order is None:
        return _in_shares(place, block, state, ROWS, groups.sizes)
    grouped = _picked(state, groups.order)
    former = place.turn_to(groups.order)
    worked = _in_shares(place, block, grouped, ROWS, groups.sizes)
    place.turn_back(former)
    return cast("State", _picked(worked, groups.back))


def _picked(state: Any, rows: tuple[int, ...]) -> Any:
    """Return these rows of a state, a tensor or a named tuple with tensors in it."""
    if isinstance(state, Tensor):
        return state.index_select(ROWS, torch.tensor(rows, device=state.device))
    return type(state)(
        *(_picked(part, rows) if isinstance(part, Tensor) else part for part in state)
    )


def _layout(
    place: Place[State], block: AdapterCompositionBlock, state: State
) -> tuple[int, Sequence[int]]:
    """Return the dimension along which the children share the state, and the size of each share."""
    if isinstance(block, Split):
        dim, sizes = TOKENS, block.splits
    elif isinstance(block, BatchSplit):
        dim, sizes = ROWS, block.batch_sizes
    else:
        assert isinstance(block, Parallel)
        dim, sizes = ROWS, (place.size(state, ROWS) // len(block),) * len(block)
    if sum(sizes) != place.size(state, dim):
        what = "tokens" if dim == TOKENS else "rows"
        raise InvalidComposition(
            f"{block} covers {sum(sizes)} {what}, but the input has {place.size(state, dim)}"
        )
    return dim, sizes


def _bounds(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    return pairwise(accumulate(sizes, initial=0))
