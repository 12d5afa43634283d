"""Folding an adapter into the weights of the base, and taking it out again."""

from adapters_runtime.errors import MergeStateError
from adapters_runtime.inject.bank import AdapterBank
from adapters_runtime.inject.linear_point import LinearPoint
from adapters_runtime.inject.point import Point
from adapters_runtime.inject.shared_point import SharedPoint


def merge(bank: AdapterBank, name: str) -> None:
    """Merge an adapter at all its points, or at none.

    Raises AdapterNotLoaded, and MergeStateError when one is merged already, or when a part of the
    adapter is no update of weights (a bottleneck has an activation, a gate depends on the input).
    Raises UnreadableWeight when a weight is quantised or offloaded.
    """
    bank.require(name)
    points = [point for point in _points(bank) if name in point.adapters]
    if (other := merged(bank)) is not None:
        raise MergeStateError(
            f"adapter {other!r} is merged already; call reset_adapter() before {name!r}"
        )
    foldable = (LinearPoint, SharedPoint)
    others = [p for p in bank.of_type(Point) if name in p.adapters and not isinstance(p, foldable)]
    if others or not points:
        raise MergeStateError(
            f"{name!r} has parts that cannot be folded into weights; only LoRA-like adapters can"
        )
    try:
        for point in points:
            point.merge(name)
    except BaseException:
        reset(bank)
        raise


def reset(bank: AdapterBank) -> None:
    """Bring back every weight that a merge replaced."""
    # The last first: two points may have changed one module, one after the other.
    for point in reversed(_points(bank)):
        if point.merged is not None:
            point.reset()


def _points(bank: AdapterBank) -> list[LinearPoint]:
    """Return the points of linear maps in the order of merging."""
    return sorted(bank.of_type(LinearPoint), key=lambda point: not point.merges_first)


def merged(bank: AdapterBank) -> str | None:
    """Return the name of the adapter that is merged, if one is."""
    for point in bank.of_type(LinearPoint):
        if point.merged is not None:
            return point.merged
    return None
