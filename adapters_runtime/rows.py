"""A set-up for each row of the batch, in any order; rows without one see the base alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

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
    blocks_of,
)
from adapters_runtime.errors import InvalidComposition

BASE = "__base__"
"""Stands for no adapter; no adapter may be called so."""


class Groups(NamedTuple):
    """Rows brought together by their set-up."""

    sizes: tuple[int, ...]
    """How many rows each child has, in the order of the children."""
    order: tuple[int, ...] | None
    """The rows of the batch, group by group; None when they stand so already."""
    back: tuple[int, ...]
    """Where each row of the batch is found in that order."""


class PerRow(AdapterCompositionBlock):
    """Child `choice[i]` works on row i. Not saved: it belongs to one batch."""

    def __init__(self, children: Iterable[Child], choice: Sequence[int]) -> None:
        # The children have been checked when they were built; they may be of any kind but those
        # that divide the batch themselves, so the rules of nesting do not apply.
        self._children = tuple(children)
        self.choice = tuple(choice)
        # Every place of a pass asks anew. (A cached function could not be compiled.)
        self._by_rows: dict[int, tuple[tuple[int, ...], Groups]] = {}

    @classmethod
    def of(cls, setups: "Sequence[Child | None]") -> "PerRow":
        """Return the block for these rows; None and `__base__` stand for the base alone.

        Raises InvalidComposition for a set-up that itself shares out the rows of the batch.
        """
        named = [BASE if setup is None else setup for setup in setups]
        for setup in named:
            _check(setup)
        children = tuple(dict.fromkeys(named))
        places = {child: place for place, child in enumerate(children)}
        return cls(children, [places[setup] for setup in named])

    def mapped(self, change: Callable[[Child], Child]) -> "PerRow":
        """Return the same choice among changed children."""
        return PerRow([change(child) for child in self], self.choice)

    def flatten(self) -> tuple[str, ...]:
        return tuple(name for name in super().flatten() if name != BASE)

    def groups(self, rows: int) -> Groups:
        """Return the groups in a batch of `rows` rows; see `chosen`."""
        return self._shared_out(rows)[1]

    def chosen(self, rows: int) -> tuple[int, ...]:
        """Return the child of each row of a batch: of each given row once, or as often as beams.

        Raises InvalidComposition when the batch has no such number of rows.
        """
        return self._shared_out(rows)[0]

    def _shared_out(self, rows: int) -> tuple[tuple[int, ...], Groups]:
        if rows not in self._by_rows:
            chosen = self._chosen(rows)
            self._by_rows[rows] = chosen, _groups(chosen, len(self))
        return self._by_rows[rows]

    def _chosen(self, rows: int) -> tuple[int, ...]:
        beams, rest = divmod(rows, len(self.choice))
        if rest or not beams:
            require_one_each(len(self.choice), rows)
        return tuple(child for child in self.choice for _ in range(beams))

    def _content(self) -> tuple[object, ...]:
        return PerRow, self.children, self.choice


class RowStack(Stack):
    """A stack with a choice for each row in it."""

    def __init__(self, children: Iterable[Child]) -> None:
        self._children = tuple(children)  # checked before, as those of PerRow


def require_one_each(given: int, rows: int) -> None:
    """Raise InvalidComposition unless each row of a batch has been given its set-up or task."""
    if given != rows:
        raise InvalidComposition(
            f"there are set-ups or tasks for {given} rows, but the batch has {rows}; give one for "
            f"each row, {BASE!r} where no adapter should work"
        )


def with_tasks(block: Child, task_ids: Sequence[object]) -> Child:
    """Return a set-up whose MultiTask blocks have chosen a child for each row.

    A task id is the place of a child among its fellows, or its name. Raises InvalidComposition for
    one that a block does not have.
    """
    if isinstance(block, MultiTask):
        return PerRow(block, [_place(block, task) for task in task_ids])
    if isinstance(block, Stack):
        return RowStack(with_tasks(child, task_ids) for child in block)
    return block


def _place(block: MultiTask, task: object) -> int:
    if isinstance(task, str) and task in block.children:
        return block.children.index(task)
    if isinstance(task, int) and 0 <= task < len(block):
        return task
    raise InvalidComposition(
        f"{block} has no task {task!r}; task_ids holds numbers below {len(block)}, or names"
    )


def _check(setup: object) -> None:
    if isinstance(setup, str) and setup:
        return
    if not isinstance(setup, Stack | Fuse | Split | Average):
        raise InvalidComposition(
            f"adapter_names holds {setup!r}; a row takes a name, {BASE!r}, Stack, Fuse, Split or "
            "Average"
        )
    for kind in (Parallel, BatchSplit):
        for inside in blocks_of(setup, kind):
            raise InvalidComposition(f"{inside} shares out a batch, and cannot stand in one row")


def _groups(chosen: tuple[int, ...], children: int) -> Groups:
    order = sorted(range(len(chosen)), key=chosen.__getitem__)
    sizes = tuple(chosen.count(child) for child in range(children))
    back = sorted(range(len(order)), key=order.__getitem__)
    in_order = order == list(range(len(order)))
    return Groups(sizes, None if in_order else tuple(order), tuple(back))
