"""Which adapters are active: per thread inside `with AdapterSetup(...)`, else per model."""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from adapters_runtime.composition import AdapterCompositionBlock, parse_composition

Setup = AdapterCompositionBlock


class Activation:
    """A set-up with the names in it, computed once rather than at every place of every pass."""

    def __init__(self, setup: Setup, skip_layers: Iterable[int] = ()) -> None:
        self.setup = setup
        self.names = setup.flatten()
        self.skip_layers = frozenset(skip_layers)


class Override:
    """What the innermost `AdapterSetup` of a thread asks for; no activation means no adapter."""

    def __init__(self, setup: Setup | None, head_setup: Any) -> None:
        self.activation = None if setup is None else Activation(setup)
        self.head_setup = head_setup


class _ThreadState(threading.local):
    """The override of this thread and the options of the forward pass that runs in it.

    The fields are set in `__init__`, which runs once per thread. With class-level defaults,
    torch.compile guards the class and silently reuses the graph of another set-up.
    """

    def __init__(self) -> None:
        self.override: Override | None = None


_thread = _ThreadState()


def current_override() -> Override | None:
    return _thread.override


def swap_override(override: Override | None) -> Override | None:
    """Install `override` in this thread and return the former one."""
    former = _thread.override
    _thread.override = override
    return former


class Activations:
    """The set-up activated on a model; a thread's `AdapterSetup` goes before it."""

    def __init__(self) -> None:
        self.own: Activation | None = None

    def current(self) -> Activation | None:
        override = current_override()
        return self.own if override is None else override.activation


class AdapterSetup:
    """Activate a set-up for the current thread, on every model it runs.

    The blocks may be nested; leaving one brings back the set-up of the surrounding one. A thread
    started inside does not inherit it. `with AdapterSetup(...)` must not span an `await`: the
    set-up belongs to the thread, not to the task.

    `head_setup` names the heads to use; without it a head is chosen by the adapters' names. With
    `ignore_empty`, a set-up of None keeps the surrounding one instead of deactivating everything.
    """

    def __init__(
        self,
        adapter_setup: Setup | list[Any] | str | None,
        head_setup: Any = None,
        ignore_empty: bool = False,
    ) -> None:
        self._override = Override(parse_composition(adapter_setup), head_setup)
        self._skipped = ignore_empty and self._override.activation is None
        self._former: list[Override | None] = []

    def __enter__(self) -> Self:
        self._former.append(current_override())
        if not self._skipped:
            swap_override(self._override)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        swap_override(self._former.pop())
