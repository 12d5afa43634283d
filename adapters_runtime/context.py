"""Which adapters are active: per thread inside `with AdapterSetup(...)`, else per model."""

import threading
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from adapters_runtime.composition import (
    AdapterCompositionBlock,
    Fuse,
    blocks_of,
    parse_composition,
)

Setup = AdapterCompositionBlock


class Activation:
    """A set-up with the names in it, computed once rather than at every place of every pass."""

    def __init__(self, setup: Setup, skip_layers: Iterable[int] = ()) -> None:
        self.setup = setup
        self.names = setup.flatten()
        self.fusions = tuple(block.name for block in blocks_of(setup, Fuse))
        self.skip_layers = frozenset(skip_layers)


class Override:
    """What goes before the set-ups of models in a thread; no activation means no adapter.

    `copied`: the batch has been repeated for `Parallel` already, before the model is called.
    """

    def __init__(
        self, activation: Activation | None, head_setup: Any = None, *, copied: bool = False
    ) -> None:
        self.activation = activation
        self.head_setup = head_setup
        self.copied = copied


class Recording:
    """What one forward pass reports beside its output; see `adapters_runtime.inject.recording`."""

    def __init__(self, caller: Any, owner: "Activations", reports: Iterable[str]) -> None:
        self.caller = caller
        """The module whose call asked for it."""
        self.owner = owner
        """Tells the model apart from others that run meanwhile."""
        self.reports: dict[str, dict[str, Any]] = {report: {} for report in reports}
        self.rows: tuple[int, ...] | None = None
        """Which rows of the batch adapters work on now, None for all: blocks share them out."""
        self.former: Recording | None = None

    def add(self, report: str, subject: str, layer: int, location: str, scored: Any) -> None:
        """Add what one run of an adapter has given at a location, if this report is wanted."""
        if report in self.reports:
            places = self.reports[report].setdefault(subject, {}).setdefault(layer, {})
            places.setdefault(location, []).append(scored)

    def narrow(self, positions: Sequence[int] | None) -> tuple[int, ...] | None:
        """Go on with some of the rows at hand, and return those at hand so far."""
        former = self.rows
        if positions is not None:
            self.rows = tuple(p if former is None else former[p] for p in positions)
        return former


class _InForce:
    """What holds in one thread: the override, and the recording of the pass that runs in it."""

    def __init__(self) -> None:
        self.override: Override | None = None
        self.recording: Recording | None = None


class _ThreadState(threading.local):
    """Gives each thread an object of its own, made by `__init__` when the thread first asks.

    torch.compile does not see what a traced call has written to a thread-local itself, and with
    class-level defaults it silently reuses the graph of another set-up. It sees both in an object
    that the thread-local never changes.
    """

    def __init__(self) -> None:
        self.in_force = _InForce()


_thread = _ThreadState()


def current_override() -> Override | None:
    return _thread.in_force.override


def swap_override(override: Override | None) -> Override | None:
    """Install `override` in this thread and return the former one."""
    in_force = _thread.in_force
    former, in_force.override = in_force.override, override
    return former


class Activations:
    """The set-up activated on a model; a thread's `AdapterSetup` goes before it."""

    def __init__(self) -> None:
        self.own: Activation | None = None

    def current(self) -> Activation | None:
        override = current_override()
        return self.own if override is None else override.activation

    def in_force(self) -> Override:
        """Return what would do elsewhere as the set-up of now does here."""
        override = current_override()
        return Override(self.own) if override is None else override

    def copies(self) -> int:
        """Return how often a batch that enters the model is to be repeated."""
        override, activation = current_override(), self.current()
        if activation is None or (override is not None and override.copied):
            return 1
        return activation.setup.parallel_channels

    def recording(self) -> Recording | None:
        """Return the recording of the pass of this model that runs in this thread, if there is."""
        recording = _thread.in_force.recording
        return recording if recording is not None and recording.owner is self else None

    def start_recording(self, recording: Recording) -> None:
        former = _thread.in_force.recording
        # A pass that was interrupted (Ctrl-C skips hooks) has left its recording behind.
        stale = former is not None and former.caller is recording.caller
        recording.former = None if stale else former
        _thread.in_force.recording = recording

    def end_recording(self) -> None:
        if _thread.in_force.recording is not None:
            _thread.in_force.recording = _thread.in_force.recording.former


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
        setup = parse_composition(adapter_setup)
        self._override = Override(None if setup is None else Activation(setup), head_setup)
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
