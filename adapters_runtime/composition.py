"""How adapters are put together, as data: blocks that hold names of adapters, or other blocks.

Stack(a, b)        b works on what a gives
Fuse(a, b)         a trained attention over the outputs mixes them (AdapterFusion)
Split(a, b)        each works on its own part of the sequence
BatchSplit(a, b)   each works on its own rows of the batch
Parallel(a, b)     each works on its own copy of the batch; the outputs follow one another
Average(a, b)      the weighted mean of the outputs
MultiTask(a, b)    the row's task id says which one works

A block is checked when it is built and never changes, so one that exists can be activated.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from adapters_runtime.errors import FormatError, InvalidComposition

Child: TypeAlias = "str | AdapterCompositionBlock"
Block = TypeVar("Block", bound="AdapterCompositionBlock")


class AdapterCompositionBlock:
    """What all blocks share: children in order, equality by content, and the form in JSON.

    `Stack("en", Fuse("a", "b"))` is saved as

    >>> Stack("en").to_dict()
    {'type': 'Stack', 'children': [{'type': 'single', 'children': ['en']}]}
    """

    def __init__(self, *children: Child) -> None:
        self._children = children
        _check_children(self)

    @property
    def children(self) -> "tuple[Child, ...]":
        return self._children

    @property
    def parallel_channels(self) -> int:
        """How many copies of the batch come out of this block for each one that goes in."""
        return max(
            child.parallel_channels if isinstance(child, AdapterCompositionBlock) else 1
            for child in self.children
        )

    def flatten(self) -> tuple[str, ...]:
        """Return the names in the tree, each once, in the order in which they first appear."""
        return tuple(dict.fromkeys(_names(self)))

    def mapped(self, change: "Callable[[Child], Child]") -> "AdapterCompositionBlock":
        """Return the same block over changed children."""
        return type(self)(*(change(child) for child in self), **self._options())

    def first(self) -> str:
        """Return the name that meets the input first."""
        child = self.children[0]
        return child if isinstance(child, str) else child.first()

    def last(self) -> str:
        """Return the name whose output leaves the block last."""
        child = self.children[-1]
        return child if isinstance(child, str) else child.last()

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "type": type(self).__name__,
            "children": [_child_to_dict(child) for child in self.children],
        }
        if options := self._options():
            data["kwargs"] = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in options.items()
            }
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Child:
        """Read what `to_dict` wrote: a block, or a name where `type` is "single".

        Raises FormatError when the document is not of that form, InvalidComposition when it
        describes a block that may not be.
        """
        kind, children = _read_node(data)
        if kind == "single":
            return _read_single(children)
        if kind not in BLOCKS:
            raise FormatError(f"no block is called {kind!r} (there are: {', '.join(BLOCKS)})")
        block = BLOCKS[kind]
        options = data.get("kwargs") or {}
        try:
            return block(*(cls.from_dict(child) for child in children), **options)
        except TypeError as error:
            raise FormatError(f"{kind} cannot take the options {dict(options)}: {error}") from error

    def _options(self) -> dict[str, Any]:
        """Return what the constructor takes beside the children, where it is not the default."""
        return {}

    def __getitem__(self, index: int) -> Child:
        return self.children[index]

    def __len__(self) -> int:
        return len(self.children)

    def __iter__(self) -> "Iterator[Child]":
        return iter(self.children)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AdapterCompositionBlock):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __repr__(self) -> str:
        parts = [repr(child) for child in self.children]
        parts += [f"{key}={value!r}" for key, value in self._options().items()]
        return f"{type(self).__name__}({', '.join(parts)})"

    def _content(self) -> tuple[Any, ...]:
        return type(self), self.children, tuple(self._options().items())


class Stack(AdapterCompositionBlock):
    """Each child works on what the one before it gives; the first meets the model's own stream."""


class Fuse(AdapterCompositionBlock):
    """All children work on the same input, and a trained attention mixes what they give."""

    def __init__(self, *children: Child, name: str | None = None) -> None:
        super().__init__(*children)
        self._name = name

    @property
    def name(self) -> str:
        """Name of the fusion's own weights; unless given, the names it was made over."""
        if self._name is not None:
            return self._name
        return ",".join(child if isinstance(child, str) else child.last() for child in self)

    def _options(self) -> dict[str, Any]:
        return {} if self._name is None else {"name": self._name}


class Split(AdapterCompositionBlock):
    """Child i works on the next `splits[i]` positions; one number stands for all children."""

    def __init__(self, *children: Child, splits: int | Iterable[int]) -> None:
        super().__init__(*children)
        self._splits = _sizes(self, "splits", splits)

    @property
    def splits(self) -> tuple[int, ...]:
        return self._splits

    def _options(self) -> dict[str, Any]:
        return {"splits": self._splits}


class BatchSplit(AdapterCompositionBlock):
    """Child i works on the next `batch_sizes[i]` rows; one number stands for all children."""

    def __init__(self, *children: Child, batch_sizes: int | Iterable[int]) -> None:
        super().__init__(*children)
        self._batch_sizes = _sizes(self, "batch_sizes", batch_sizes)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        return self._batch_sizes

    def _options(self) -> dict[str, Any]:
        return {"batch_sizes": self._batch_sizes}


class Parallel(AdapterCompositionBlock):
    """The batch is copied once for each child."""

    @property
    def parallel_channels(self) -> int:
        return len(self.children)


class Average(AdapterCompositionBlock):
    """The weighted sum of what the children give; the weights sum to one unless told otherwise."""

    def __init__(
        self,
        *children: Child,
        weights: Iterable[float] | None = None,
        normalize_weights: bool = True,
    ) -> None:
        super().__init__(*children)
        given = (1.0,) * len(children) if weights is None else tuple(weights)
        if weights is None:
            normalize_weights = True
        self._weights = _weights(self, given, normalize=normalize_weights)

    @property
    def weights(self) -> tuple[float, ...]:
        return self._weights

    def _options(self) -> dict[str, Any]:
        # Dividing weights that sum to one again would change their last digit, so that a block
        # read back would not equal the one saved.
        if math.isclose(sum(self._weights), 1.0):
            return {"weights": self._weights}
        return {"weights": self._weights, "normalize_weights": False}


class MultiTask(AdapterCompositionBlock):
    """The task id of a row, an index into the children, says which child works on it."""


BLOCKS: dict[str, type[AdapterCompositionBlock]] = {
    block.__name__: block
    for block in (Stack, Fuse, Split, BatchSplit, Parallel, Average, MultiTask)
}

NESTING: dict[type[AdapterCompositionBlock], tuple[type[AdapterCompositionBlock], ...]] = {
    Stack: (Fuse, Split, Parallel, BatchSplit, Average, MultiTask),
    Fuse: (Stack,),
    Split: (Split, Stack, BatchSplit, Average),
    Parallel: (Stack, BatchSplit, Average),
    BatchSplit: (Stack, Split, BatchSplit, Average),
    Average: (Stack, Split, BatchSplit),
    MultiTask: (Stack, Average, Fuse),
}
"""Which blocks a block may hold. All may hold names; two levels down, only names and stacks."""


def blocks_of(block: Child, kind: type[Block]) -> Iterator[Block]:
    """Yield the blocks of one kind in a tree, the outermost first."""
    if isinstance(block, str):
        return
    if isinstance(block, kind):
        yield block
    for child in block:
        yield from blocks_of(child, kind)


def parse_composition(
    value: "Child | Sequence[Any] | None",
) -> AdapterCompositionBlock | None:
    """Return the block that `value` stands for; None and an empty list stand for no adapter.

    A name stands for a stack of one. A list stands for a stack, and a list inside it for a fusion:
    so wrote the first releases of AdapterHub's library, and we warn about it as it does.
    """
    if not isinstance(value, str | AdapterCompositionBlock) and not value:
        return None
    if isinstance(value, AdapterCompositionBlock):
        return value
    if isinstance(value, str):
        return Stack(value)
    if not isinstance(value, Sequence):
        raise InvalidComposition(
            f"{value!r} is neither the name of an adapter nor a block such as Stack('a', 'b')"
        )
    warnings.warn(
        "lists of adapters are deprecated: write Stack(...) or Fuse(...)",
        FutureWarning,
        stacklevel=2,
    )
    return Stack(*(_parse_item(item) for item in value))


def _parse_item(item: Any) -> Child:
    is_list = isinstance(item, Sequence) and not isinstance(item, str | AdapterCompositionBlock)
    return Fuse(*item) if is_list else item


def names_in(child: Child) -> tuple[str, ...]:
    """Return the names in a set-up, or the one name that it is."""
    return (child,) if isinstance(child, str) else child.flatten()


def _names(block: AdapterCompositionBlock) -> Iterator[str]:
    for child in block:
        if isinstance(child, str):
            yield child
        else:
            yield from _names(child)


def _child_to_dict(child: Child) -> dict[str, Any]:
    return {"type": "single", "children": [child]} if isinstance(child, str) else child.to_dict()


def _read_node(data: Any) -> tuple[str, list[Any]]:
    if not isinstance(data, Mapping):
        raise FormatError(f"a block is an object with `type` and `children`, not {data!r}")
    kind, children = data.get("type"), data.get("children")
    if not isinstance(kind, str) or not isinstance(children, list):
        raise FormatError(f"a block needs `type`, a name, and `children`, a list: {dict(data)}")
    if unknown := sorted(set(data) - {"type", "children", "kwargs"}):
        raise FormatError(f"{kind} has unknown fields: {', '.join(unknown)}")
    if not isinstance(data.get("kwargs") or {}, Mapping):
        raise FormatError(f"`kwargs` of {kind} must be an object, not {data['kwargs']!r}")
    return kind, children


def _read_single(children: list[Any]) -> str:
    if len(children) != 1 or not isinstance(children[0], str):
        raise FormatError(f"a single adapter needs one name, not {children}")
    return children[0]


def _check_children(block: AdapterCompositionBlock) -> None:
    kind = type(block).__name__
    if not block.children:
        raise InvalidComposition(f"{kind} needs at least one adapter")
    allowed = NESTING[type(block)]
    for child in block.children:
        if child == "":
            raise InvalidComposition(f"{kind} holds an adapter without a name")
        if not isinstance(child, (str, *allowed)):
            names = ", ".join(other.__name__ for other in allowed)
            raise InvalidComposition(f"{kind} cannot hold {child!r}; it can hold names and {names}")
        _check_depth(block, child)
    _check_copies(block)


def _check_copies(block: AdapterCompositionBlock) -> None:
    blocks = [child for child in block.children if isinstance(child, AdapterCompositionBlock)]
    copies = sorted({child.parallel_channels for child in blocks} - {1})
    if len(copies) > 1:
        raise InvalidComposition(
            f"{type(block).__name__} copies the batch for {copies[0]} adapters at one place and "
            f"for {copies[-1]} at another; give each Parallel in it as many children"
        )


def _check_depth(block: AdapterCompositionBlock, child: Child) -> None:
    for below in child if isinstance(child, AdapterCompositionBlock) else ():
        if not isinstance(below, str | Stack):
            raise InvalidComposition(
                f"{type(block).__name__}({type(child).__name__}({below!r})) is nested too deeply: "
                "two levels down there can be only names and Stack"
            )


def _sizes(block: AdapterCompositionBlock, field: str, value: Any) -> tuple[int, ...]:
    sizes = (value,) * len(block) if isinstance(value, int) else tuple(value)
    kind = type(block).__name__
    if len(sizes) != len(block):
        raise InvalidComposition(
            f"{kind} has {len(block)} children, but {field} has {len(sizes)} numbers"
        )
    if any(not isinstance(size, int) or size < 1 for size in sizes):
        raise InvalidComposition(f"{field} of {kind} must be whole numbers above 0, not {value!r}")
    return sizes


def _weights(
    block: AdapterCompositionBlock, given: tuple[float, ...], *, normalize: bool
) -> tuple[float, ...]:
    if len(given) != len(block):
        raise InvalidComposition(f"Average has {len(block)} children, but {len(given)} weights")
    total = sum(given)
    if not math.isfinite(total):
        raise InvalidComposition(f"the weights of Average must be finite, not {list(given)}")
    if not normalize or math.isclose(total, 1.0):
        return given
    if total == 0:
        raise InvalidComposition(
            f"the weights {list(given)} sum to 0 and cannot be normalised; "
            "pass normalize_weights=False to use them as they are"
        )
    return tuple(weight / total for weight in given)
