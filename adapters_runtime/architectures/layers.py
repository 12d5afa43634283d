"""The layers of a model, counted by the names of its parameters alone."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adapters_runtime.architectures.spec import Architecture, LayerStack


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a model."""

    index: int
    """Counted over all stacks: a decoder goes on where its encoder ends, as in AdapterHub."""
    stack: LayerStack
    path: str
    saved_path: str
    """The path in AdapterHub's files."""


def list_layers(architecture: Architecture, parameters: Iterable[str]) -> tuple[Layer, ...]:
    """Return the layers, given the names of all parameters relative to the base model."""
    names = tuple(parameters)
    return tuple(
        Layer(
            index=index,
            stack=stack,
            path=_fill(stack.path, numbers),
            saved_path=_fill(stack.saved_path or stack.path, numbers),
        )
        for index, (stack, numbers) in enumerate(_positions(architecture, names))
    )


def _positions(
    architecture: Architecture, names: tuple[str, ...]
) -> Iterator[tuple[LayerStack, tuple[str, ...]]]:
    for stack in architecture.stacks:
        pattern = re.compile(re.escape(stack.path).replace(r"\*", r"(\d+)") + r"\.(\d+)\.")
        found = {match.groups() for name in names if (match := pattern.match(name))}
        for numbers in sorted(found, key=lambda numbers: tuple(map(int, numbers))):
            yield stack, numbers


def _fill(path: str, numbers: tuple[str, ...]) -> str:
    """Put the numbers in place of each `*`, and the last one behind the path."""
    for number in numbers[:-1]:
        path = path.replace("*", number, 1)
    return f"{path}.{numbers[-1]}"
