"""`model(..., adapter_names=[...])`: a set-up for each row of the batch, for one call.

Hooks on the model take the argument out of the call and put the rows' set-ups in force while it
runs. Every place then brings rows of one set-up together, so that each adapter runs once.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from adapters_runtime.composition import Child
from adapters_runtime.context import Activation, Override, current_override, swap_override
from adapters_runtime.errors import InvalidComposition
from adapters_runtime.inject.bank import AdapterBank
from adapters_runtime.inject.point import Outside
from adapters_runtime.rows import PerRow

ARGUMENT = "adapter_names"


class _Routed(Override):
    """The set-ups of one call's rows; `caller` is the module that was called."""

    def __init__(self, setup: PerRow, caller: nn.Module, former: Override | None) -> None:
        head_setup = None if former is None else former.head_setup
        super().__init__(Activation(setup), head_setup)
        self.caller = caller
        self.former = former


def rows_of(names: "Sequence[Child | None]", bank: AdapterBank) -> PerRow:
    """Return the block for `adapter_names`; raises AdapterNotLoaded, and InvalidComposition."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise InvalidComposition(
            f"{ARGUMENT} is a list with a set-up for each row of the batch, not {names!r}"
        )
    setup = PerRow.of(names)
    bank.check(Activation(setup))
    return setup


def route_on(model: nn.Module, bank: AdapterBank) -> None:
    """Let calls of this model say which adapters work on which row."""
    # First, so that the set-up is in force when the other hooks on the model ask for it.
    model.register_forward_pre_hook(TakeNames(bank), with_kwargs=True, prepend=True)
    model.register_forward_hook(LeaveNames(), always_call=True)


class TakeNames:
    """Pre-hook on a model."""

    def __init__(self, bank: AdapterBank) -> None:
        self.bank = Outside(bank)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        _leave(module)  # A call that was interrupted (Ctrl-C skips hooks) has left its names.
        if ARGUMENT not in kwargs:
            return None
        rest = {key: value for key, value in kwargs.items() if key != ARGUMENT}
        names = kwargs[ARGUMENT]
        if names is not None:
            bank = self.bank.module
            assert isinstance(bank, AdapterBank)
            setup = rows_of(names, bank)
            setup.groups(_rows(args, rest))
            swap_override(_Routed(setup, module, current_override()))
        return args, rest


class LeaveNames:
    """Hook on a model; runs also when it raises."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        _leave(module)


def _leave(module: nn.Module) -> None:
    override = current_override()
    if isinstance(override, _Routed) and override.caller is module:
        swap_override(override.former)


def _rows(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    inputs = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.dim() > 1]
    if not inputs:
        raise InvalidComposition(f"{ARGUMENT} needs a batch: the model was given no input")
    return inputs[0].shape[0]
