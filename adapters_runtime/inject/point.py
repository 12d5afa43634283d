"""A point: one place of the model that owns the adapters standing there.

Hooks are registered when the first adapter arrives and removed with the last one, so that a model
without adapters runs the very operations of the base.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from adapters_runtime.composition import AdapterCompositionBlock
from adapters_runtime.configs import AdapterConfig
from adapters_runtime.context import Activations, Recording
from adapters_runtime.inject.host import place_of
from adapters_runtime.inject.named import NamedModules
from adapters_runtime.inject.recording import GATING, Scored
from adapters_runtime.inject.stacks import Stacks


class Outside:
    """A module of the model that a point refers to without owning it.

    The wrapper keeps torch from registering the module as a child of the point.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module


class Handle(Protocol):
    def remove(self) -> None:
        """Undo what `Attachment.register` did."""


class Attachment(Protocol):
    """A change to the model that lasts while there are adapters at a place."""

    module: Outside

    def register(self) -> Handle: ...


@dataclass
class Hook:
    """A hook to register: `pre` runs before the module, `first` before the hooks already there.

    `always` is for a hook after the module that must run even when the module raises.
    """

    module: Outside
    call: Callable[..., Any]
    pre: bool = False
    first: bool = False
    always: bool = False

    def register(self) -> RemovableHandle:
        module = self.module.module
        if self.pre:
            entering = module.register_forward_pre_hook(
                self.call, with_kwargs=True, prepend=self.first
            )
            _put_notes_last(module)
            return entering
        handle = module.register_forward_hook(
            self.call, prepend=self.first, always_call=self.always
        )
        _put_maps_first(module)
        return handle


def _put_maps_first(module: nn.Module) -> None:
    """Let a map be adapted before a site that ends in it (ALBERT's, interfaces') sees its output.

    Whichever adapter came first. `of` of our hooks says what they belong to.
    """
    hooks = module._forward_hooks  # noqa: SLF001 - torch orders hooks in no other way
    of = {key: getattr(call, "of", None) for key, call in hooks.items()}
    if {"map", "site"} <= set(of.values()):
        for key in [key for key, whose in of.items() if whose != "map"]:
            hooks[key] = hooks.pop(key)


def _put_notes_last(module: nn.Module) -> None:
    """Let what a call was given be noted as the module gets it: longer by prompts, say.

    Whichever adapter came first. `of` of our hooks says what they do.
    """
    hooks = module._forward_pre_hooks  # noqa: SLF001 - torch orders hooks in no other way
    for key in [key for key, call in hooks.items() if getattr(call, "of", None) == "note"]:
        hooks[key] = hooks.pop(key)


@dataclass
class Mark:
    """An attribute to set on a module, where a hook would come too late."""

    module: Outside
    name: str
    value: Any

    def register(self) -> "Mark":
        setattr(self.module.module, self.name, self.value)
        return self

    def remove(self) -> None:
        delattr(self.module.module, self.name)


class Point(nn.Module):
    """Base of all points. `path` is where AdapterHub's files keep its tensors."""

    container = "adapters"
    """AdapterHub's name for the dictionary of adapters at such a place."""

    def __init__(self, path: str, layer: int | None, activations: Activations) -> None:
        super().__init__()
        self.path = path
        self.layer = layer
        self.adapters = NamedModules()
        self.activations = activations
        self.hooks: Sequence[Attachment] = ()
        self.stacks = Stacks()
        self._handles: list[Handle] = []

    def build(self, config: AdapterConfig) -> nn.Module | None:
        """Return a new adapter for this place, or None when the configuration wants none here."""
        raise NotImplementedError

    def add(self, name: str, config: AdapterConfig) -> bool:
        """Add what the configuration wants here; return whether that was anything."""
        with seeded(getattr(config, "init_weights_seed", None)):
            module = self.build(config)
        if module is None:
            return False
        self.adapters[name] = module.to(self.place, self.near.dtype).train(self.training)
        self.attach()
        return True

    def rename(self, old: str, new: str) -> None:
        if old in self.adapters:
            self.adapters.rename(old, new)

    @property
    def near(self) -> Tensor:
        """A parameter of the model at this place: adapters join its type of numbers."""
        floating = (p for _, p in self.parameters_near() if p.is_floating_point())
        return next(floating, torch.empty(0))

    @property
    def place(self) -> torch.device:
        """Where the model computes at this place."""
        return next((place_of(*pair) for pair in self.parameters_near()), torch.device("cpu"))

    def parameters_near(self) -> Iterator[tuple[nn.Module, nn.Parameter]]:
        """Yield the model's parameters at this place, each with the module that holds it."""
        for hook in self.hooks:
            for module in hook.module.module.modules():
                yield from ((module, p) for p in module.parameters(recurse=False))

    def remove(self, name: str) -> None:
        self.stacks.clear()
        if name in self.adapters:
            del self.adapters[name]
        if not self.adapters:
            self.detach()

    def leave_out(self, name: str, layers: Collection[int]) -> None:
        """Take an adapter away if this place is in one of the layers, counted over all stacks."""
        if self.layer in layers:
            self.remove(name)

    def add_hook(self, hook: Attachment) -> None:
        self.hooks = (*self.hooks, hook)
        if self._handles:
            self._handles.append(hook.register())

    def drop_hooks(self, module: nn.Module) -> None:
        """Forget all that this place does at a module, which leaves the model."""
        attached = bool(self._handles)
        self.detach()
        self.hooks = tuple(hook for hook in self.hooks if hook.module.module is not module)
        if attached:
            self.attach()

    def train(self, mode: bool = True) -> Self:
        # Optimizers may write where nothing tells of it: through `parameter.data`.
        self.stacks.clear()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        # `.to(...)` writes through `parameter.data` too, and back and forth ends where it began.
        self.stacks.clear()
        return super()._apply(*args, **kwargs)  # type: ignore[no-any-return, no-untyped-call]

    def attach(self) -> None:
        if not self._handles:
            self._handles = [hook.register() for hook in self.hooks]

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def active(self) -> AdapterCompositionBlock | None:
        """Return the set-up in force when one of its adapters stands here, else None."""
        activation = self.activations.current()
        if activation is None or self.layer in activation.skip_layers:
            return None
        for name in activation.names:
            if name in self.adapters:
                return activation.setup
        return None

    def clear(self) -> None:
        """Forget what an interrupted forward pass left behind."""

    def parameters_of(self, name: str) -> Iterator[nn.Parameter]:
        """Yield what training an adapter changes here."""
        if name in self.adapters:
            yield from self.adapters[name].parameters()

    def record_gates(self, name: str, location: str, gates: Tensor, *, last: bool = False) -> None:
        """Report the gates of an adapter, (rows, ...) with one value per row and gate."""
        recording = self.activations.recording()
        if recording is not None:
            scores = gates.reshape(len(gates), -1)
            self.record(recording, GATING, name, location, scores, last=last)

    def record(
        self,
        recording: Recording,
        report: str,
        subject: str,
        location: str,
        scores: Tensor,
        *,
        last: bool = False,
    ) -> None:
        """Report scores of the rows at hand, (rows, ...)."""
        assert self.layer is not None
        rows = recording.rows or tuple(range(len(scores)))
        found = Scored(self.path, rows, scores, last=last)
        recording.add(report, subject, self.layer, location, found)

    def turn_to(self, positions: Sequence[int] | None) -> tuple[int, ...] | None:
        """See `Place.turn_to`."""
        recording = self.activations.recording()
        return None if recording is None else recording.narrow(positions)

    def turn_back(self, rows: tuple[int, ...] | None) -> None:
        recording = self.activations.recording()
        if recording is not None:
            recording.rows = rows

    def saved_tensors(self, name: str) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors of an adapter under their names in AdapterHub's files.

        Buffers that a file needs are among them: what a method keeps but never trains.
        """
        if name in self.adapters:
            prefix = self.saved_prefix(name)
            for key, tensor in self.adapters[name].state_dict(keep_vars=True).items():
                yield prefix + key, tensor

    def saved_prefix(self, name: str) -> str:
        return ".".join(filter(None, (self.path, self.container, name))) + "."

    def fill(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Copy an adapter's tensors, under the names of `saved_tensors`, to this place."""
        if name in self.adapters:
            prefix = self.saved_prefix(name)
            own = {
                key.removeprefix(prefix): tensor
                for key, tensor in tensors.items()
                if key.startswith(prefix)
            }
            self.adapters[name].load_state_dict(own)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw random numbers from `seed`, if there is one, and leave the global generator alone."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
