"""The layers of a model, counted by the names of its parameters alone."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

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


def halves(layers: Iterable[Layer]) -> tuple[int, ...]:
    """Return how many layers each part of a model has that is made of several, else nothing."""
    counts = Counter(layer.stack.part for layer in layers)
    return tuple(counts.values()) if len(counts) > 1 else ()


def fitted(architecture: Architecture, parameters: Iterable[str]) -> Architecture:
    """Return the specification without what a model of fewer parts has not.

    A BERT has cross-attention only where its configuration asks for it: `needs` says so. An
    encoder alone (T5EncoderModel) has nothing of a decoder. A BEiT with a relative bias for each
    pair of places has no room for prompts. The names of all parameters are
    relative to the base model.
    """
    names = tuple(parameters)
    stacks = [stack for stack in architecture.stacks if _has(stack, None, names)]
    found = replace(architecture, stacks=tuple(_fitted_stack(stack, names) for stack in stacks))
    counter = architecture.counts_places
    if counter is not None and any(counter in name for name in names):
        found = replace(found, prompts=None)
    for stack in architecture.stacks:
        if stack not in stacks:
            found = _without(found, stack.path.partition(".")[0] + ".")
    return found if stacks else architecture


def _without(architecture: Architecture, part: str) -> Architecture:
    """Forget the paths that lead into a part that a model has not."""
    token = architecture.token_embedding
    return replace(
        architecture,
        token_embedding=None if token is None or token.startswith(part) else token,
        token_lookups=tuple(p for p in architecture.token_lookups if not p.startswith(part)),
    )


def _fitted_stack(stack: LayerStack, names: tuple[str, ...]) -> LayerStack:
    return replace(
        stack,
        sites=tuple(site for site in stack.sites if _has(stack, site.needs, names)),
        attentions=tuple(each for each in stack.attentions if _has(stack, each.needs, names)),
    )


def _has(stack: LayerStack, needs: str | None, names: tuple[str, ...]) -> bool:
    """Return whether there are layers with such a module, or layers at all."""
    path = "" if needs is None else f"{re.escape(needs)}\\."
    pattern = re.compile(_layer_pattern(stack) + path)
    return any(map(pattern.match, names))


def _layer_pattern(stack: LayerStack) -> str:
    """Return what matches the path of a layer of the stack, with the dot behind it."""
    return re.escape(stack.path).replace(r"\*", r"(\d+)") + r"\.(\d+)\."


def _positions(
    architecture: Architecture, names: tuple[str, ...]
) -> Iterator[tuple[LayerStack, tuple[str, ...]]]:
    for stack in architecture.stacks:
        pattern = re.compile(_layer_pattern(stack))
        found = {match.groups() for name in names if (match := pattern.match(name))}
        for numbers in sorted(found, key=lambda numbers: tuple(map(int, numbers))):
            yield stack, numbers


def _fill(path: str, numbers: tuple[str, ...]) -> str:
    """Put the numbers in place of each `*`, and the last one behind the path."""
    for number in numbers[:-1]:
        path = path.replace("*", number, 1)
    return f"{path}.{numbers[-1]}"
