"""A student without adapters that does what an adapted model does.

For methods that cannot be merged: a bottleneck has an activation, a prefix changes what tokens
attend to. The student is a copy of the base, trained to give the teacher's probabilities (Hinton et
al. 2015, https://arxiv.org/abs/1503.02531) and hidden states (Sun et al. 2019,
https://arxiv.org/abs/1908.09355, with equal layers). It then runs at the speed of the base.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters_runtime import fusing, merging
from adapters_runtime.context import AdapterSetup
from adapters_runtime.errors import ConfigError, InvalidComposition, MergeStateError
from adapters_runtime.inject.bank import bank_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, Any]
"""Arguments of one call of the model. Labels among them are not used."""

_SCORES = ("logits", "start_logits", "end_logits")


@dataclass(frozen=True)
class Agreement:
    """How far two models agree on data, over all positions that are no padding."""

    top: float | None
    """Share of positions at which both find the same class, or token, most likely; None for models
    that give no scores of classes."""
    divergence: float | None
    """Mean Kullback-Leibler divergence of the student's probabilities from the teacher's, nats."""
    hidden: float
    """Mean squared difference of the last hidden states."""
    cosine: float
    """Mean cosine of the angle between the last hidden states."""


@dataclass(frozen=True)
class Report:
    """Agreement on data that was held out: of the bare base, and of the student."""

    before: Agreement
    after: Agreement
    losses: tuple[float, ...]
    """The mean loss of each epoch."""


class Distilled(NamedTuple):
    student: Any
    report: Report


def distill(
    model: "PreTrainedModel",
    setup: Any,
    data: Iterable[Batch],
    *,
    held_out: Iterable[Batch] | None = None,
    epochs: int = 3,
    learning_rate: float = 1e-4,
    temperature: float = 2.0,
    hidden_weight: float = 1.0,
    trained: Callable[[str], bool] | None = None,
) -> Distilled:
    """Return a student that mimics `model` under a set-up, and how well it does.

    `data` are batches, gone through once in each of the epochs. Without `held_out` the last tenth
    of them (at least one) is kept aside to measure agreement. `trained` says by its name whether a
    parameter of the student is trained; by default all are. The loss is KL(teacher || student) of
    the scores at `temperature`, times its square, plus `hidden_weight` times the mean squared
    difference of hidden states over all layers. Optimiser: AdamW without decay, the rate warmed up
    over the first tenth of the steps, then falling to zero. Dropout is off.

    The student has the model's class and heads, and no adapter; `save_pretrained` writes it as the
    plain model that it is. `model` stays as it was. Raises InvalidComposition for a set-up that
    repeats the batch, MergeStateError while an adapter is merged, and ConfigError when there is
    nothing to learn from or to measure on.
    """
    teacher = _Teacher(model, AdapterSetup(setup))
    learned, measured = _shares(data, held_out)
    student = _bare_copy(model, teacher)
    _choose_parameters(student, trained)
    was_training = model.training
    model.eval()
    try:
        before = agreement(teacher, student, measured)
        losses = _learn(
            teacher,
            student,
            learned,
            _Loss(temperature, hidden_weight),
            epochs=epochs,
            learning_rate=learning_rate,
        )
        after = agreement(teacher, student, measured)
    finally:
        model.train(was_training)
    student.requires_grad_(True)
    return Distilled(student.eval(), Report(before, after, losses))


class Seen(NamedTuple):
    """What one call of a model gives to compare."""

    scores: tuple[Tensor, ...]
    """Each (rows, classes), padding left out; empty when the model gives none."""
    hidden: tuple[Tensor, ...]
    """Of each layer, (positions, width), padding left out."""


class _Teacher:
    def __init__(self, model: Any, setup: AdapterSetup) -> None:
        self.model = model
        self.setup = setup
        bank = bank_of(model)
        with setup:
            activation = bank.activations.current()
            if activation is not None:
                bank.check(activation)
            if bank.activations.copies() > 1:
                raise InvalidComposition(
                    "a set-up with Parallel gives several outputs for each input, and a student "
                    "gives one; distill its adapters one after the other"
                )
            self.heads = getattr(model, "active_head", None)

    def __call__(self, batch: Batch) -> Seen:
        with torch.no_grad(), self.setup:
            return see(self.model, batch)


def see(model: nn.Module, batch: Batch) -> Seen:
    """Run a model on a batch and return what it gives at all positions that are no padding."""
    inputs = {key: value for key, value in batch.items() if "label" not in key}
    outputs = model(**inputs, output_hidden_states=True, return_dict=True)
    writes = outputs.get("decoder_hidden_states")
    kept = _kept(batch, "" if writes is None else "decoder_")
    scores = [outputs[key] for key in _SCORES if isinstance(outputs.get(key), Tensor)]
    return Seen(
        tuple(part if part.dim() == 2 else _positions(part, kept) for part in scores),
        tuple(_positions(part, kept) for part in writes or outputs["hidden_states"]),
    )


def _kept(batch: Batch, prefix: str) -> Tensor | None:
    """Return (rows, length), true where a text is; None for what is no text."""
    mask: Tensor | None = batch.get(f"{prefix}attention_mask")
    ids: Tensor | None = batch.get(f"{prefix}input_ids")
    if mask is not None and mask.dim() == 2:
        return mask.bool()
    return None if ids is None else torch.ones_like(ids, dtype=torch.bool)


def _positions(states: Tensor, kept: Tensor | None) -> Tensor:
    if kept is None:
        return states.flatten(0, 1)
    # Prompts of the teacher stand before the text.
    return states[:, -kept.shape[1] :][kept]


def _shares(
    data: Iterable[Batch], held_out: Iterable[Batch] | None
) -> tuple[Iterable[Batch], Sequence[Batch]]:
    if held_out is not None:
        measured = list(held_out)
        if not measured:
            raise ConfigError("held_out has no batch, so agreement cannot be measured")
        return data, measured
    batches = list(data)
    if len(batches) < 2:
        raise ConfigError(
            f"data has {len(batches)} batches, and at least 2 are needed: the last tenth is held "
            "out to measure agreement"
        )
    kept = max(1, len(batches) // 10)
    return batches[:-kept], batches[-kept:]


def _bare_copy(model: Any, teacher: _Teacher) -> Any:
    """Return a copy of the model without its adapters, whose active heads are the teacher's."""
    if (merged := merging.merged(bank_of(model))) is not None:
        raise MergeStateError(
            f"{merged!r} is merged into the weights, which a student starts from; call "
            "reset_adapter() first, or keep the merged model: it is as fast"
        )
    student = copy.deepcopy(model).eval()
    bank = bank_of(student)
    bank.activate(None)
    for fusion in list(bank.fusions):
        fusing.remove(bank, fusion)
    for name in list(bank.configs):
        bank.remove(name)
    if hasattr(student, "heads"):
        student.active_head = teacher.heads
    return student


def _choose_parameters(student: nn.Module, trained: Callable[[str], bool] | None) -> None:
    for name, parameter in student.named_parameters():
        chosen = trained is None or trained(name)
        parameter.requires_grad_(chosen and parameter.is_floating_point())
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise ConfigError("`trained` chooses no parameter of the student, so it cannot learn")


class _Loss:
    def __init__(self, temperature: float, hidden_weight: float) -> None:
        self.temperature = temperature
        self.hidden_weight = hidden_weight

    def __call__(self, student: Seen, teacher: Seen) -> Tensor:
        parts = [self._scores(*pair) for pair in zip(student.scores, teacher.scores, strict=True)]
        differences = [
            F.mse_loss(own.float(), wanted.float())
            for own, wanted in zip(student.hidden, teacher.hidden, strict=True)
        ]
        return sum(parts, self.hidden_weight * torch.stack(differences).mean())

    def _scores(self, student: Tensor, teacher: Tensor) -> Tensor:
        if student.shape[-1] == 1:  # a number, not a choice
            return F.mse_loss(student, teacher)
        return self.temperature**2 * _divergence(
            student / self.temperature, teacher / self.temperature
        )


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean KL(teacher || student) over rows of scores, in nats."""
    own, wanted = (scores.float().log_softmax(-1) for scores in (student, teacher))
    return F.kl_div(own, wanted, reduction="batchmean", log_target=True)


def _learn(
    teacher: _Teacher,
    student: nn.Module,
    data: Iterable[Batch],
    loss_of: _Loss,
    *,
    epochs: int,
    learning_rate: float,
) -> tuple[float, ...]:
    steps = epochs * sum(1 for _ in data)
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warmed_up(steps))
    means = []
    for _ in range(epochs):
        losses = []
        for batch in data:
            loss = loss_of(see(student, batch), teacher(batch))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return tuple(means)


def _warmed_up(steps: int) -> Callable[[int], float]:
    warm = max(1, steps // 10)
    return lambda step: min((step + 1) / warm, max(0, steps - step) / max(1, steps - warm))


@torch.no_grad()
def agreement(
    teacher: Callable[[Batch], Seen], student: nn.Module, data: Iterable[Batch]
) -> Agreement:
    """Measure how far a student agrees with a teacher."""
    same, apart, squares, angles = [], [], [], []
    for batch in data:
        wanted, own = teacher(batch), see(student, batch)
        for ours, theirs in zip(own.scores, wanted.scores, strict=True):
            if ours.shape[-1] > 1:
                same.append(ours.argmax(-1) == theirs.argmax(-1))
                apart.append(_divergence(ours, theirs).expand(len(ours)))
        here, there = own.hidden[-1].float(), wanted.hidden[-1].float()
        squares.append((here - there).square().mean(-1))
        angles.append(F.cosine_similarity(here, there, dim=-1))
    return Agreement(
        top=_mean(same), divergence=_mean(apart), hidden=_mean(squares), cosine=_mean(angles)
    )


def _mean(parts: Sequence[Tensor]) -> Any:
    return torch.cat(list(parts)).double().mean().item() if parts else None
