"""Which adapters are active: per thread inside `with AdapterSetup(...)`, else per model."""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import torch

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
        self.former: Recording | None = None

    def add(
        self,
        report: str,
        subject: str,
        layer: int,
        location: str,
        scores: Any,
        *,
        last: bool = False,
    ) -> None:
        """Add scores, (rows, columns, ...), to those of one place, if this report is wanted.

        Scores of one place stand side by side, in the order in which they come (the query's gate,
        the value's), but for those that are to stand last.
        """
        if report in self.reports:
            places = self.reports[report].setdefault(subject, {}).setdefault(layer, {})
            places.setdefault(location, []).append((last, scores))


class _ThreadState(threading.local):
    """The override of this thread and the options of the forward pass that runs in it.

    The fields are set in `__init__`, which runs once per thread. With class-level defaults,
    torch.compile guards the class and silently reuses the graph of another set-up.
    """

    def __init__(self) -> None:
        self.override: Override | None = None
        self.recording: Recording | None = None


class _TracedState:
    """The override that a call under torch.compile has installed for itself.

    Dynamo traces one call at a time, and does not see what it has itself written to a thread-local.
    Between calls it is None.
    """

    def __init__(self) -> None:
        self.override: Override | None = None


_thread = _ThreadState()
_traced = _TracedState()


def current_override() -> Override | None:
    if torch.compiler.is_compiling() and _traced.override is not None:
        return _traced.override
    return _thread.override


def swap_override(override: Override | None) -> Override | None:
    """Install `override` in this thread and return the former one."""
    former = current_override()
    if torch.compiler.is_compiling():
        _traced.override = None if override is _thread.override else override
    else:
        _thread.override = override
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
        recording = _thread.recording
        return recording if recording is not None and recording.owner is self else None

    def start_recording(self, recording: Recording) -> None:
        former = _thread.recording
        # A pass that was interrupted (Ctrl-C skips hooks) has left its recording behind.
        stale = former is not None and former.caller is recording.caller
        recording.former = None if stale else former
        _thread.recording = recording

    def end_recording(self) -> None:
        if _thread.recording is not None:
            _thread.recording = _thread.recording.former


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
