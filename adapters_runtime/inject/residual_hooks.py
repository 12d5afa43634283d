"""Hooks around a residual sub-block, between the model and a `BottleneckPoint`.

They capture r on its way into the sub-block and replace h, the output of its last module.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from adapters_runtime.inject.cell import Cell
from adapters_runtime.inject.point import Hook, Outside


class CaptureInput:
    """Pre-hook: the input of a module is a residual stream."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.cell.put(args[0] if args else kwargs["hidden_states"])


class CaptureOutput:
    """Hook: the output of a module is a residual stream."""

    of = "site"

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.cell.put(output[0] if isinstance(output, tuple) else output)


class ReplaceOutput:
    """Hook on the module that yields h."""

    of = "site"

    def __init__(self, point: BottleneckPoint) -> None:
        self.point = point

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (self.point.adapt(output[0]), *output[1:])
        return self.point.adapt(output)


class ReplaceNormed:
    """Hook on a post-LN block's norm: a complete output passes it by."""

    def __init__(self, completed: Cell) -> None:
        self.completed = completed

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        completed: Tensor | None = self.completed.take()
        return completed


def residual_hooks(
    point: BottleneckPoint, captured: Sequence[nn.Module], out: nn.Module
) -> list[Hook]:
    """Return the hooks of a point; `captured` are the modules of the site's residual paths."""
    hooks = []
    for path, module, cell in zip(point.site.residual, captured, point.residuals, strict=True):
        if path.startswith("in:"):
            hooks.append(Hook(Outside(module), CaptureInput(cell), pre=True))
        else:
            hooks.append(Hook(Outside(module), CaptureOutput(cell)))
    # First, so that another site which captures this module's output sees it adapted.
    hooks.append(Hook(Outside(out), ReplaceOutput(point), first=True))
    if point.norm_module is not None:
        hooks.append(Hook(point.norm_module, ReplaceNormed(point.completed)))
    return hooks
