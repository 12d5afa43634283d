"""Classes made at run time, that can be pickled and are made once.

Pickle finds a class by its module and name, and would find another one under those of ours. So an
instance says how its class was made, and is put together again from that.
"""

from collections.abc import Callable
from typing import Any

Builder = Callable[[type], type]
"""A function of a module, so that pickle finds it, from a plain class to one made of it."""

_made: dict[tuple[Builder, type], type] = {}


def made_class(builder: Builder, plain: type) -> type:
    """Return what `builder` makes of `plain`, always the same class."""
    key = (builder, plain)
    if key not in _made:
        cls = builder(plain)
        cls._made_by = key  # type: ignore[attr-defined]
        cls.__reduce_ex__ = _reduce  # type: ignore[method-assign, assignment]
        _made[key] = cls
    return _made[key]


def _reduce(self: Any, protocol: int) -> tuple[Any, ...]:  # noqa: ARG001  (pickle's signature)
    return _rebuild, self._made_by, self.__dict__


def _rebuild(builder: Builder, plain: type) -> Any:
    cls = made_class(builder, plain)
    return object.__new__(cls)
