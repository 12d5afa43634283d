"""Numbers of layers in files of models that are made of two.

AdapterHub's library counts the layers of each half from 0, so that a number in a configuration
means a layer of both. Ours go on counting in the second. Its files are read as it means them, and
written so that it can read them, unless a configuration treats the halves differently: it has no
words for that.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from adapters_runtime.configs.base import AdapterConfig
from adapters_runtime.configs.signature import map_parts

GOES_ON = "layer_numbers_go_on"
"""Field of a document whose configuration counts as ours do."""

Renumber = Callable[[int], Iterable[int]]


def document_of(config: AdapterConfig, halves: Sequence[int]) -> dict[str, Any]:
    """Return the fields that say a configuration; `halves` have so many layers each, if any."""
    if not halves:
        return {"config": config.to_dict()}
    theirs = _renumbered(config, lambda number: [_in_its_half(number, halves)])
    if read_from(theirs, {}, halves) == _renumbered(config, lambda number: [number]):
        return {"config": theirs.to_dict()}
    return {"config": config.to_dict(), GOES_ON: True}


def read_from(
    config: AdapterConfig, document: Mapping[str, Any], halves: Sequence[int]
) -> AdapterConfig:
    """Return the configuration of a document with its layers numbered as ours are."""
    if not halves or document.get(GOES_ON) is True:
        return config
    return _renumbered(config, lambda number: _in_all_halves(number, halves))


def _in_its_half(number: int, halves: Sequence[int]) -> int:
    for layers in halves[:-1]:
        if number < layers:
            break
        number -= layers
    return number


def _in_all_halves(number: int, halves: Sequence[int]) -> list[int]:
    starts = (sum(halves[:i]) for i in range(len(halves)))
    found = zip(starts, halves, strict=True)
    return [start + number for start, layers in found if number < layers]


def _renumbered(config: AdapterConfig, renumber: Renumber) -> AdapterConfig:
    """Return a configuration with other numbers of layers, in their order."""
    return map_parts(partial(_part_renumbered, renumber=renumber), config)


def _part_renumbered(config: AdapterConfig, renumber: Renumber) -> AdapterConfig:
    changes: dict[str, Any] = {}
    for field in ("leave_out", "layers"):
        numbers = config.get(field)
        if isinstance(numbers, tuple):
            changes[field] = tuple(sorted({new for old in numbers for new in renumber(old)}))
    factors = config.get("reduction_factor")
    if isinstance(factors, Mapping):
        changes["reduction_factor"] = {
            str(new): factor
            for old, factor in factors.items()
            for new in (renumber(int(old)) if old.isdecimal() else [old])
        }
    return config.replace(**changes)
