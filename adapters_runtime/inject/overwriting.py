"""Whether what a module has just put out may be written over, which saves a pass over it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from adapters_runtime.composition import AdapterCompositionBlock, BatchSplit, Stack
from adapters_runtime.rows import PerRow

MAKING_NEW = (nn.Linear, Conv1D)
"""Modules whose output is a new tensor each time; of a subclass nobody knows."""


def may_overwrite(output: Tensor, module: nn.Module, hook: Callable[..., Any]) -> bool:
    """Return whether nothing but `hook`, a forward hook of the module, can see its output.

    A gradient could, and a hook that ran before this one. A compiler saves the pass by itself.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or _transformed():
        return False
    if type(module) not in MAKING_NEW or "forward" in vars(module):
        return False
    hooks = module._forward_hooks.values()  # noqa: SLF001 - there is no other way to ask
    return type(output) is Tensor and output.is_contiguous() and next(iter(hooks)) is hook


def reads_once(setup: AdapterCompositionBlock) -> bool:
    """Return whether no part of a set-up needs what the output was before another changed it."""
    if isinstance(setup, Stack):
        return all(isinstance(child, str) for child in setup)
    return isinstance(setup, PerRow | BatchSplit)


def _transformed() -> bool:
    """Return whether `torch.func` runs: under vmap an update can have more rows than the output."""
    return torch._C._functorch.maybe_current_level() is not None  # noqa: SLF001 - nothing public
