"""A value handed from one hook to another within a forward pass of one thread."""

import threading
from typing import Any

import torch


class _ThreadValue(threading.local):
    def __init__(self) -> None:
        self.value: Any = None


class Cell:
    """Empty until `put`, empty again after `take`.

    Threads do not see each other's values. Under torch.compile a plain attribute stands in, because
    dynamo traces one call at a time and cannot guard on a write to a thread-local.
    """

    def __init__(self) -> None:
        self._by_thread = _ThreadValue()
        self._traced: Any = None

    def put(self, value: Any) -> None:
        if torch.compiler.is_compiling():
            self._traced = value
        else:
            self._by_thread.value = value

    @property
    def value(self) -> Any:
        """What was put, without taking it."""
        return self._traced if torch.compiler.is_compiling() else self._by_thread.value

    @property
    def filled(self) -> bool:
        return self.value is not None

    def take(self) -> Any:
        if torch.compiler.is_compiling():
            value, self._traced = self._traced, None
        else:
            value, self._by_thread.value = self._by_thread.value, None
        return value

    def clear(self) -> None:
        self._by_thread.value = None
        self._traced = None

    # A copy of a model must not share values in flight, and a thread-local cannot be pickled.
    def __deepcopy__(self, memo: dict[int, Any]) -> "Cell":
        return Cell()

    def __reduce__(self) -> tuple[type["Cell"], tuple[()]]:
        return Cell, ()
