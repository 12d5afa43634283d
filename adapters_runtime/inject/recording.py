"""Reports that a forward pass is asked for: gating scores, and attention over fused adapters.

Hooks on the model take the options out of the call's arguments, so that no module of transformers
sees them, and put the reports into its output. In between, points add to the recording of their
thread. A pass that is asked for nothing records nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from adapters_runtime.context import Activations, Recording

GATING = "adapter_gating_scores"
FUSION = "adapter_fusion_attentions"


class Scored(NamedTuple):
    """What one run of an adapter at one place has given."""

    place: str
    rows: tuple[int, ...]
    """Which rows of the batch it has worked on."""
    scores: Tensor
    """(rows, columns, ...)"""
    last: bool = False
    """Whether it stands behind those of other places (the value's gate behind the query's)."""


Joined: TypeAlias = Callable[[list[Scored]], Tensor]

OPTIONS = {
    "output_adapter_gating_scores": GATING,
    "output_adapter_fusion_attentions": FUSION,
}
"""Argument of `forward` -> field of the output."""


def record_on(model: nn.Module, activations: Activations) -> None:
    """Let calls of this model ask for reports."""
    model.register_forward_pre_hook(TakeOptions(activations), with_kwargs=True)
    # Also after an error: a recording left behind would swallow the reports of later passes.
    model.register_forward_hook(AttachReports(activations), always_call=True)


class TakeOptions:
    """Pre-hook on a model: start a recording when the call asks for reports."""

    def __init__(self, activations: Activations) -> None:
        self.activations = activations

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not any(option in kwargs for option in OPTIONS):
            return None
        wanted = [report for option, report in OPTIONS.items() if kwargs.get(option)]
        if wanted:
            self.activations.start_recording(Recording(module, self.activations, wanted))
        return args, {key: value for key, value in kwargs.items() if key not in OPTIONS}


class AttachReports:
    """Hook on a model: end the recording that this call has started."""

    def __init__(self, activations: Activations) -> None:
        self.activations = activations

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        recording = self.activations.recording()
        if recording is None or recording.caller is not module:
            return None
        self.activations.end_recording()
        return _with_reports(output, recording.reports)


def _with_reports(output: Any, reports: dict[str, dict[str, Any]]) -> Any:
    together = {GATING: _side_by_side, FUSION: _latest}
    as_arrays = {report: _arrays(found, together[report]) for report, found in reports.items()}
    if isinstance(output, tuple):
        return (*output, *as_arrays.values())
    if isinstance(output, ModelOutput):
        for report, found in as_arrays.items():
            output[report] = found
    return output


def _arrays(found: dict[str, dict[int, dict[str, list[Scored]]]], together: Joined) -> Any:
    """Return the report in numpy arrays, as AdapterHub's library gives it."""
    return {
        subject: {
            layer: {location: _array(together(runs)) for location, runs in places.items()}
            for layer, places in layers.items()
        }
        for subject, layers in found.items()
    }


def _side_by_side(runs: list[Scored]) -> Tensor:
    """Return the gates at one location, (rows,) or (rows, gates): rows in their order in the batch.

    Where an adapter works on some rows more often than on others, these have NaN in the columns
    that they lack.
    """
    columns = sorted(_columns(runs), key=lambda column: column.last)
    rows = _all_rows(columns)
    filled = [_filled(column, rows) for column in columns]
    together = filled[0] if len(filled) == 1 else torch.cat(filled, dim=1)
    return together.squeeze(1) if together.shape[1] == 1 else together


def _latest(runs: list[Scored]) -> Tensor:
    """Return what came last, where a layer is run several times (ALBERT's are)."""
    columns = _columns(runs)
    rows = _all_rows(columns)
    together = _filled(columns[0], rows)
    for column in columns[1:]:
        own = torch.tensor([row in column.rows for row in rows], device=together.device)
        own = own.reshape(-1, *[1] * (together.dim() - 1))
        together = torch.where(own, _filled(column, rows), together)
    return together


def _columns(runs: list[Scored]) -> list[Scored]:
    """Put runs of one place on different rows on one another; runs on the same rows stay apart."""
    columns: list[Scored] = []
    for run in runs:
        for number, column in enumerate(columns):
            if column.place == run.place and not set(column.rows) & set(run.rows):
                scores = torch.cat([column.scores, run.scores])
                columns[number] = Scored(run.place, column.rows + run.rows, scores, run.last)
                break
        else:
            columns.append(run)
    return columns


def _all_rows(columns: list[Scored]) -> list[int]:
    return sorted({row for column in columns for row in column.rows})


def _filled(column: Scored, rows: list[int]) -> Tensor:
    """Return the scores of these rows; NaN for those that the column lacks."""
    if list(column.rows) == rows:
        return column.scores
    filled = column.scores.new_full((len(rows), *column.scores.shape[1:]), float("nan"))
    filled[[rows.index(row) for row in column.rows]] = column.scores
    return filled


def _array(scores: Tensor) -> Any:
    scores = scores.detach().cpu()
    return (scores.float() if scores.dtype == torch.bfloat16 else scores).numpy()
