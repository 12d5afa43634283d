"""Reports that a forward pass is asked for: gating scores, and attention over fused adapters.

Hooks on the model take the options out of the call's arguments, so that no module of transformers
sees them, and put the reports into its output. In between, points add to the recording of their
thread. A pass that is asked for nothing records nothing.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from adapters_runtime.context import Activations, Recording

GATING = "adapter_gating_scores"
FUSION = "adapter_fusion_attentions"

Scores: TypeAlias = list[tuple[bool, Tensor]]
"""What a place has reported in one pass, with whether it is to stand last."""
Joined: TypeAlias = Callable[[Scores], Tensor]

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


def _arrays(found: dict[str, dict[int, dict[str, Scores]]], together: Joined) -> dict[str, Any]:
    """Return the report in numpy arrays, as AdapterHub's library gives it."""
    return {
        subject: {
            layer: {location: _array(together(scores)) for location, scores in places.items()}
            for layer, places in layers.items()
        }
        for subject, layers in found.items()
    }


def _side_by_side(found: Scores) -> Tensor:
    """Return the gates of one place, those that are to stand last behind the others."""
    scores = [score for _, score in sorted(found, key=lambda score: score[0])]
    together = scores[0] if len(scores) == 1 else torch.cat(scores, dim=1)
    return together.squeeze(1) if together.shape[1] == 1 else together


def _latest(found: Scores) -> Tensor:
    """Return what came last, where a layer is run several times (ALBERT's are)."""
    return found[-1][1]


def _array(scores: Tensor) -> Any:
    scores = scores.detach().cpu()
    return (scores.float() if scores.dtype == torch.bfloat16 else scores).numpy()
