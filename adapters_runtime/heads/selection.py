"""Which heads decide on which rows of the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.utils.generic import ModelOutput

from adapters_runtime.composition import AdapterCompositionBlock, BatchSplit, Parallel, Stack
from adapters_runtime.errors import InvalidComposition
from adapters_runtime.rows import BASE, PerRow


@dataclass(frozen=True)
class HeadPerRow:
    """A head for each row, in any order; None for rows on which none decides."""

    names: tuple[str | None, ...]


HeadSetup: TypeAlias = str | tuple[str, ...] | BatchSplit | Parallel | HeadPerRow | None
"""One head; several on the same rows; each on its rows, or on its copy of the batch."""


@dataclass
class MultiHeadOutput(ModelOutput):
    """What several heads gave, in the order in which the set-up names them.

    `loss` is the sum of theirs, if all have one. `rows` says, for heads chosen per row, which rows
    of the batch each has decided on.
    """

    loss: Tensor | None = None
    head_outputs: list[ModelOutput] | None = None
    rows: list[list[int]] | None = None

    @property
    def logits(self) -> Tensor:
        """All heads' logits below one another, where their shapes allow it."""
        return torch.cat([output["logits"] for output in self.head_outputs or ()])

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int):
            return (self.head_outputs or [])[key]
        return super().__getitem__(key)  # type: ignore[no-untyped-call]


Rows: TypeAlias = slice | list[int]


@dataclass(frozen=True)
class Share:
    """One head, and the rows of the base's output that it decides on."""

    head: str
    rows: Rows


def parse_heads(value: Any) -> HeadSetup:
    """Return the head set-up that `value` stands for; raises InvalidComposition."""
    if value is None or isinstance(value, str | HeadPerRow):
        return value or None
    if isinstance(value, BatchSplit | Parallel):
        if nested := [child for child in value if not isinstance(child, str)]:
            raise InvalidComposition(f"heads cannot be nested: {nested[0]!r} in {value!r}")
        return value
    if isinstance(value, Sequence) and all(isinstance(name, str) for name in value):
        return value[0] if len(value) == 1 else tuple(value) or None
    raise InvalidComposition(
        f"{value!r} selects no heads: give a name, a list of names, Parallel or BatchSplit"
    )


def names_in(heads: HeadSetup) -> tuple[str, ...]:
    """Return the names of the heads, each once."""
    if heads is None:
        return ()
    if isinstance(heads, str):
        return (heads,)
    if isinstance(heads, HeadPerRow):
        return tuple(dict.fromkeys(name for name in heads.names if name is not None))
    return tuple(dict.fromkeys(str(name) for name in heads))


def heads_of(setup: AdapterCompositionBlock | None) -> HeadSetup:
    """Return the heads that are called like the adapters whose outputs leave a set-up last."""
    last = setup[-1] if isinstance(setup, Stack) else setup
    if last is None or isinstance(last, str):
        return last
    if isinstance(last, PerRow):
        return _heads_of_rows(last)
    ends = [child if isinstance(child, str) else child.last() for child in last]
    if isinstance(last, Parallel):
        return Parallel(*ends)
    if isinstance(last, BatchSplit):
        return BatchSplit(*ends, batch_sizes=last.batch_sizes)
    return heads_of(last) if isinstance(last, Stack) else None


def _heads_of_rows(setup: PerRow) -> HeadSetup:
    ends = [child if isinstance(child, str) else child.last() for child in setup]
    names = tuple(None if ends[i] == BASE else ends[i] for i in setup.choice)
    return names[0] if len(set(names)) == 1 else HeadPerRow(names)


def shares(heads: HeadSetup, rows: int, copies: int) -> list[Share]:
    """Divide the rows of the base's output, which holds `copies` of the batch, among the heads."""
    if isinstance(heads, BatchSplit):
        return _in_order(heads, heads.batch_sizes, rows)
    if isinstance(heads, Parallel) or (isinstance(heads, tuple) and len(heads) == copies > 1):
        if len(heads) != copies:
            raise InvalidComposition(
                f"{heads!r} needs {len(heads)} parallel adapters, not {copies}"
            )
        return _in_order(heads, [rows // copies] * copies, rows)
    if isinstance(heads, HeadPerRow):
        return _per_row(heads, rows)
    return [Share(name, slice(0, rows)) for name in names_in(heads)]


def take(value: Any, rows: Rows) -> Any:
    """Return these rows of tensors, also inside tuples and outputs; the rest stays as it is."""
    if isinstance(value, Tensor):
        return value[rows] if value.dim() else value
    if isinstance(value, ModelOutput):
        return type(value)(**{key: take(part, rows) for key, part in value.items()})
    if isinstance(value, tuple):
        return tuple(take(part, rows) for part in value)
    return value


def _in_order(heads: Any, sizes: Sequence[int], rows: int) -> list[Share]:
    if sum(sizes) != rows:
        raise InvalidComposition(f"{heads!r} covers {sum(sizes)} rows, but the batch has {rows}")
    bounds = pairwise(accumulate(sizes, initial=0))
    return [Share(str(name), slice(*bound)) for name, bound in zip(heads, bounds, strict=True)]


def _per_row(heads: HeadPerRow, rows: int) -> list[Share]:
    beams, rest = divmod(rows, len(heads.names))
    if rest or not beams:
        raise InvalidComposition(f"{len(heads.names)} rows have a head, but the batch has {rows}")
    names = [name for name in heads.names for _ in range(beams)]
    return [
        Share(name, [row for row, other in enumerate(names) if other == name])
        for name in names_in(heads)
    ]
