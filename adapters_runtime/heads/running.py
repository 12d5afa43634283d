"""From the base model's output to the heads' outputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers.utils.generic import ModelOutput

from adapters_runtime.heads.base import PredictionHead, own_inputs
from adapters_runtime.heads.selection import (
    HeadPerRow,
    HeadSetup,
    MultiHeadOutput,
    Rows,
    Share,
    shares,
    take,
)
from adapters_runtime.heads.summary import Inputs, summarise
from adapters_runtime.inject.arguments import CACHES
from adapters_runtime.inject.bank import AdapterBank

_OF_BASE = frozenset({"last_hidden_state", "pooler_output"})
"""What the head's output stands in the place of."""


class Run:
    """One pass through the heads: what the base gave, and what the heads were given beside it."""

    def __init__(
        self,
        bank: AdapterBank,
        config: Any,
        outputs: ModelOutput,
        inputs: Inputs,
        asked: Mapping[str, Any],
    ) -> None:
        activation = bank.activations.current()
        self.architecture = bank.architecture
        self.config = config
        self.outputs = outputs
        self.inputs = inputs
        self.asked = asked
        self.channels = 1 if activation is None else activation.setup.parallel_channels
        """How many copies of the batch are in the output."""
        self.copies = bank.activations.copies()
        """How many of them the base has made; `generate` makes them before it calls the model."""

    def __call__(self, setup: HeadSetup, heads: Mapping[str, PredictionHead]) -> Any:
        summary = None
        if any(head.of_sequence for head in heads.values()):
            summary = summarise(self.architecture, self.config, self.outputs, self.inputs)
        outputs = _scaled(self.outputs, self.config)
        if isinstance(setup, str):
            every = slice(0, len(outputs[0]))
            return _carry(self._call(heads[setup], outputs, summary, every), outputs)
        divided = shares(setup, len(outputs[0]), self.channels)
        found = [self._share(heads[share.head], outputs, summary, share) for share in divided]
        losses = [output["loss"] for output in found if output.get("loss") is not None]
        together = MultiHeadOutput(
            head_outputs=found,
            loss=torch.stack(losses).sum() if len(losses) == len(found) else None,
            rows=[list(_listed(share.rows)) for share in divided]
            if isinstance(setup, HeadPerRow)
            else None,
        )
        for key, value in outputs.items():
            if key.startswith("adapter_") or key in CACHES:
                together[key] = value
        return together

    def _share(
        self, head: PredictionHead, outputs: ModelOutput, summary: Tensor | None, share: Share
    ) -> Any:
        # A cache belongs to the whole batch.
        own = type(outputs)(
            **{k: take(v, share.rows) for k, v in outputs.items() if k not in CACHES}
        )
        part = None if summary is None else take(summary, share.rows)
        return _carry(self._call(head, own, part, share.rows), own)

    def _call(
        self, head: PredictionHead, outputs: ModelOutput, summary: Tensor | None, rows: Rows
    ) -> Any:
        names = {*own_inputs(type(head)), *head.get_label_names()}
        asked = {
            name: take(self._repeated(value), _of_labels(rows, head.rows_per_label))
            for name, value in self.asked.items()
            if name in names
        }
        mask = take(self._repeated(self.inputs.get("attention_mask")), rows)
        return head(outputs, cls_output=summary, attention_mask=mask, return_dict=True, **asked)

    def _repeated(self, value: Any) -> Any:
        """Repeat what came with the batch as the batch was repeated for parallel adapters."""
        if self.copies == 1 or not isinstance(value, Tensor) or value.dim() == 0:
            return value
        return value.repeat(self.copies, *[1] * (value.dim() - 1))


def _scaled(outputs: ModelOutput, config: Any) -> ModelOutput:
    """Scale what a tied projection sees, where the base's own head does so (T5)."""
    if not getattr(config, "scale_decoder_outputs", False):
        return outputs
    scaled = outputs["last_hidden_state"] * config.d_model**-0.5
    return type(outputs)(**{**outputs, "last_hidden_state": scaled})


def _carry(predicted: Any, outputs: ModelOutput) -> Any:
    """Add what else the base gave to a head's output: attentions, cache, hidden states, ..."""
    if isinstance(predicted, ModelOutput):
        for key, value in outputs.items():
            if key not in _OF_BASE and predicted.get(key) is None:
                predicted[key] = value
    return predicted


def _of_labels(rows: Rows, rows_per_label: int) -> Rows:
    """Return the labels' rows for rows of the base: several choices share a label."""
    if rows_per_label == 1:
        return rows
    if isinstance(rows, slice):
        return slice(rows.start // rows_per_label, rows.stop // rows_per_label)
    return list(dict.fromkeys(row // rows_per_label for row in rows))


def _listed(rows: Rows) -> list[int]:
    return list(range(rows.start, rows.stop)) if isinstance(rows, slice) else rows
