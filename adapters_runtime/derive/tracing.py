"""What goes into and comes out of every module in one forward pass."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from adapters_runtime.derive.inputs import ROWS
from adapters_runtime.derive.written_out import Watch, WrittenOut
from adapters_runtime.inject.attention import configs_of, eager_function

PROBE = "adapters_probe"
TOLERANCE = 1e-9


def same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors of a float64 pass are one and the same value."""
    return a.shape == b.shape and torch.allclose(a, b, atol=TOLERANCE, rtol=TOLERANCE)


class Event(NamedTuple):
    """A module takes in its stream, or gives its result, which is `after`."""

    time: int
    path: str
    module: nn.Module
    tensor: Tensor
    after: bool

    def carries(self, tensor: Tensor) -> bool:
        return same(self.tensor, tensor)


class Attended(NamedTuple):
    """One attention: queries, keys and values, (batch, heads, length, head width) each."""

    time: int
    module: nn.Module
    query: Tensor
    key: Tensor
    value: Tensor
    written: WrittenOut | None = None
    """What else was seen of an attention that does not call transformers' interface."""

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.query, self.key, self.value


@dataclass
class Trace:
    """One forward pass. Times count all events, so that windows of it can be compared."""

    events: list[Event] = field(default_factory=list)
    attended: list[Attended] = field(default_factory=list)
    output: Tensor | None = None
    """The first thing that the model returns: its last hidden state."""

    def time(self) -> int:
        return len(self.events) + len(self.attended)

    def note(self, path: str, module: nn.Module, value: Any, *, after: bool) -> None:
        if isinstance(value, Tensor):
            self.events.append(Event(self.time(), path, module, value.detach().clone(), after))

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        written: WrittenOut | None = None,
    ) -> None:
        self.attended.append(Attended(self.time(), module, query, key, value, written))


def record(model: nn.Module, inputs: dict[str, Any]) -> Trace:
    """Run a model once, and return all that its modules have seen."""
    trace = Trace()
    with ExitStack() as hooks, probing(model, trace):
        for path, module in model.named_modules():
            if path:
                for handle in _listen(trace, path, module):
                    hooks.callback(handle.remove)
        with torch.no_grad():
            trace.output = _first(model(**inputs))
    return trace


def attended_with(
    model: nn.Module, inputs: dict[str, Any], module: nn.Module, change: Callable[[Tensor], Tensor]
) -> list[Attended]:
    """Return the attention calls of a pass in which a module's output is changed."""
    trace = Trace()
    hook = module.register_forward_hook(lambda _module, _args, output: change(output))
    try:
        with probing(model, trace), torch.no_grad():
            model(**inputs)
    finally:
        hook.remove()
    return trace.attended


@contextmanager
def probing(model: nn.Module, trace: Trace) -> Iterator[None]:
    """Let a model's attentions report to the trace what they are called with."""
    configs = list(configs_of(model))
    before = [config._attn_implementation for config in configs]  # noqa: SLF001  (no public name)
    try:
        for config in configs:
            config._attn_implementation = PROBE  # noqa: SLF001
        with _following(model) as running, Watch(running, trace.attend, ROWS) as watch:
            token = _running.set((trace, watch))
            try:
                yield
            finally:
                _running.reset(token)
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name  # noqa: SLF001


_running: ContextVar[tuple[Trace, Watch]] = ContextVar("trace")


@contextmanager
def _following(model: nn.Module) -> Iterator[list[nn.Module]]:
    """Give the list of the modules whose forward runs, as it changes."""
    running: list[nn.Module] = []

    def enter(module: nn.Module, _args: tuple[Any, ...]) -> None:
        running.append(module)

    def leave(_module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        running.pop()

    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if path:
                hooks.callback(module.register_forward_pre_hook(enter).remove)
                hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield running


def _listen(trace: Trace, path: str, module: nn.Module) -> Iterator[Any]:
    def enter(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # As the runtime's own capture of a residual stream reads it.
        value = args[0] if args else kwargs.get("hidden_states")
        trace.note(path, module, value, after=False)

    def leave(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        trace.note(path, module, output[0] if isinstance(output, tuple) else output, after=True)

    yield module.register_forward_pre_hook(enter, with_kwargs=True)
    yield module.register_forward_hook(leave)


def _first(outputs: Any) -> Tensor | None:
    value = outputs[0]
    return value if isinstance(value, Tensor) else None


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> Any:
    trace, watch = _running.get()
    trace.attend(module, query, key, value)
    eager = eager_function(module)
    assert eager is not None
    watch.elsewhere = True
    try:
        return eager(module, query, key, value, *args, **kwargs)
    finally:
        watch.elsewhere = False


ALL_ATTENTION_FUNCTIONS.register(PROBE, _attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(PROBE, ALL_MASK_ATTENTION_FUNCTIONS["eager"])
