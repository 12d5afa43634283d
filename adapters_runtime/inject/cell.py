"""A value handed from one hook to another within a forward pass of one thread."""

import threading
from typing import Any


class _Slot:
    def __init__(self) -> None:
        self.value: Any = None


class _SlotOfThread(threading.local):
    def __init__(self) -> None:
        self.slot = _Slot()


class Cell:
    """Empty until `put`, empty again after `take`.

    Threads do not see each other's values. What is put is put into an object that the thread-local
    never changes: torch.compile does not see what it has itself written to a thread-local. So a
    value passes between hooks that are traced and hooks that are not, too: a part of the model may
    be compiled by itself, and a graph may break.
    """

    def __init__(self) -> None:
        self._of_thread = _SlotOfThread()

    def put(self, value: Any) -> None:
        self._of_thread.slot.value = value

    @property
    def value(self) -> Any:
        """What was put, without taking it."""
        return self._of_thread.slot.value

    @property
    def filled(self) -> bool:
        return self.value is not None

    def take(self) -> Any:
        slot = self._of_thread.slot
        value, slot.value = slot.value, None
        return value

    def clear(self) -> None:
        self._of_thread.slot.value = None

    # A copy of a model must not share values in flight, and a thread-local cannot be pickled.
    def __deepcopy__(self, memo: dict[int, Any]) -> "Cell":
        return Cell()

    def __reduce__(self) -> tuple[type["Cell"], tuple[()]]:
        return Cell, ()
