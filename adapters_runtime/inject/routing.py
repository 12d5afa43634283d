"""A set-up for each row of the batch, for one call.

    model(..., adapter_names=[...])    the rows' own set-ups
    model(..., task_ids=[...])         which child of each MultiTask block works on the row

Hooks on the model take the arguments out of the call and put the rows' set-ups in force while it
runs. Every place then brings rows of one set-up together, so that each adapter runs once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from adapters_runtime.composition import AdapterCompositionBlock, Child, MultiTask, blocks_of
from adapters_runtime.context import Activation, Override, current_override, swap_override
from adapters_runtime.errors import InvalidComposition
from adapters_runtime.inject.bank import AdapterBank
from adapters_runtime.inject.point import Outside
from adapters_runtime.rows import PerRow, require_one_each, with_tasks

ARGUMENT = "adapter_names"
TASKS = "task_ids"


class _Routed(Override):
    """The set-ups of one call's rows; `caller` is the module that was called."""

    def __init__(self, activation: Activation, caller: nn.Module, former: Override | None) -> None:
        head_setup = None if former is None else former.head_setup
        super().__init__(activation, head_setup)
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
        if ARGUMENT not in kwargs and TASKS not in kwargs:
            return None
        rest = {key: value for key, value in kwargs.items() if key not in (ARGUMENT, TASKS)}
        names, tasks = kwargs.get(ARGUMENT), kwargs.get(TASKS)
        rows = partial(_rows, module, args, rest)
        activation = None
        if names is not None:
            activation = self._by_names(names, rows())
        elif tasks is not None:
            activation = self._by_tasks(tasks, rows)
        if activation is not None:
            swap_override(_Routed(activation, module, current_override()))
        return args, rest

    def _by_names(self, names: "Sequence[Child | None]", rows: int) -> Activation:
        setup = rows_of(names, self._bank)
        require_one_each(len(setup.choice), rows)
        return Activation(setup)

    def _by_tasks(self, tasks: Any, rows: Callable[[], int]) -> Activation | None:
        """Return the set-up in force with its tasks chosen; None when it leaves no choice."""
        activation = self._bank.activations.current()
        if activation is None or not any(blocks_of(activation.setup, MultiTask)):
            return None
        listed = tasks.tolist() if isinstance(tasks, Tensor) else list(tasks)
        require_one_each(len(listed), rows())
        setup = with_tasks(activation.setup, listed)
        assert isinstance(setup, AdapterCompositionBlock)
        return Activation(setup, activation.skip_layers)

    @property
    def _bank(self) -> AdapterBank:
        bank = self.bank.module
        assert isinstance(bank, AdapterBank)
        return bank


class LeaveNames:
    """Hook on a model; runs also when it raises."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        _leave(module)


def _leave(module: nn.Module) -> None:
    override = current_override()
    if isinstance(override, _Routed) and override.caller is module:
        swap_override(override.former)


def _rows(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return how many rows a call's batch has; positions may come in one row for all."""
    main = (getattr(module, "main_input_name", ""), "inputs_embeds")
    given = (*args, *(kwargs.get(name) for name in main), *kwargs.values())
    inputs = [value for value in given if isinstance(value, Tensor) and value.dim() > 1]
    if not inputs:
        raise InvalidComposition(
            f"{ARGUMENT} and {TASKS} need a batch: the model was given no input"
        )
    return inputs[0].shape[0]
