"""Training adapters with the Trainer of transformers: checkpoints hold adapters, never the base.

A checkpoint has a folder for each adapter, fusion and head that is trained, and for trained token
embeddings, beside what the Trainer itself needs to go on exactly where it stopped.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from transformers import Seq2SeqTrainer, Trainer, TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME

from adapters_runtime import fusing
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import ATTRIBUTE, bank_of, base_of
from adapters_runtime.inject.token_tables import OWN
from adapters_runtime.io import embeddings, files, folder, fusions, head_folder, heads
from adapters_runtime.training_setup import AdapterArguments, setup_adapter_training

__all__ = [
    "AdapterArguments",
    "AdapterTrainer",
    "AdapterTrainerCallback",
    "Seq2SeqAdapterTrainer",
    "setup_adapter_training",
]

_TABLE = "%embeddings"
"""Folder of trained token embeddings: no adapter's folder is called so, its name being quoted."""


class AdapterTrainer(Trainer):
    """A Trainer for adapters, fusions and heads.

    It takes what transformers' Trainer takes, `tokenizer` as an old name of `processing_class`, and
    `adapter_names`, a set-up to activate. What fusions add to the loss (Pfeiffer et al. 2020, the
    distance of their value matrices from the identity) is added here, and weight decay leaves these
    matrices alone. Raises ConfigError when nothing is trained: call `model.train_adapter(...)` or
    `model.train_adapter_fusion(...)` before.
    """

    def __init__(
        self,
        model: Any = None,
        *args: Any,
        adapter_names: Any = None,
        tokenizer: Any = None,
        **kwargs: Any,
    ) -> None:
        if tokenizer is not None:
            kwargs.setdefault("processing_class", tokenizer)
        super().__init__(model, *args, **kwargs)
        self.adapted = cast("Any", self.model)
        """The model; the Trainer's own attribute is typed as one without adapters."""
        if adapter_names is not None:
            self.adapted.set_active_adapters(adapter_names)
        if not self.trained_adapters() and not self.trained_fusions():
            raise ConfigError(
                "no adapter of this model is trained; call model.train_adapter(name) first"
            )
        if self.args.label_names is None:
            self.label_names = self._labels_of_heads() or self.label_names
        self.add_callback(AdapterTrainerCallback(self))

    def _labels_of_heads(self) -> list[str]:
        """Return the arguments that hold what the active heads are to predict."""
        found: list[Any] = getattr(self.adapted, "active_heads", list)()
        return list(dict.fromkeys(name for head in found for name in head.get_label_names()))

    # --- what is trained

    def trained_adapters(self) -> list[str]:
        bank = bank_of(self.adapted)
        return [name for name in bank.configs if _any_trained(bank.parameters_of(name))]

    def trained_fusions(self) -> list[str]:
        bank = bank_of(self.adapted)
        return [name for name in bank.fusions if _any_trained(fusing.parameters_of(bank, name))]

    def trained_heads(self) -> list[str]:
        """Return the flexible heads that are trained; a static head goes with the adapters."""
        found = getattr(self.adapted, "heads", {})
        return [name for name, head in found.items() if _any_trained(head.parameters())]

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        values = {
            id(parameter)
            for name in self.trained_fusions()
            for _, module in fusing.modules_of(bank_of(self.adapted), name)
            if (value := getattr(module, "value", None)) is not None
            for parameter in value.parameters()
        }
        spared = {name for name, p in model.named_parameters() if id(p) in values}
        decaying: list[str] = super().get_decay_parameter_names(model)
        return [name for name in decaying if name not in spared]

    # --- the loss

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.adapted.training and self.trained_fusions():
            extra = self.adapted.get_fusion_regularization_loss().to(loss.device)
            # A loss per token is a share of the whole step's; the Trainer divides others later.
            if self.model_accepts_loss_kwargs and num_items_in_batch is not None:
                extra = extra / self.current_gradient_accumulation_steps
            loss = loss + extra
        return (loss, outputs) if return_outputs else loss

    # --- checkpoints

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        if not self.args.should_save:
            return
        target = Path(output_dir or str(self.args.output_dir))
        target.mkdir(parents=True, exist_ok=True)
        for name in self.trained_adapters():
            self.adapted.save_adapter(files.folder_within(target, name), name)
        for name in self.trained_fusions():
            place = files.folder_within(target, name)
            self.adapted.save_adapter_fusion(place, name, with_head=self._has_static_head())
        for name in self.trained_heads():
            self.adapted.save_head(files.folder_within(target, name), name)
        if (table := self._trained_table()) is not None:
            embeddings.write_weight(target / _TABLE, table)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(target))
        torch.save(self.args, target / TRAINING_ARGS_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        source = Path(resume_from_checkpoint)
        for name in self.trained_adapters():
            if (place := files.folder_within(source, name)).joinpath(files.CONFIG).is_file():
                folder.refill(self.adapted, place, name)
        for name in self.trained_fusions():
            if (place := files.folder_within(source, name)).joinpath(files.FUSION_CONFIG).is_file():
                fusions.refill(self.adapted, place, name)
                if self._has_static_head():
                    heads.refill(self.adapted, place, name, name)
        for name in self.trained_heads():
            if head_folder.is_one(place := files.folder_within(source, name)):
                heads.refill(self.adapted, place, name, name)
        table = self._trained_table()
        if table is not None and (source / _TABLE).is_dir():
            with torch.no_grad():
                table.copy_(embeddings.read(source / _TABLE).weight)

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint
        assert best is not None  # the Trainer calls this only when there is one
        self._load_from_checkpoint(best)

    def _has_static_head(self) -> bool:
        return not hasattr(self.adapted, "heads") and bool(heads.static_head(self.adapted))

    def _trained_table(self) -> Any:
        """Return the token embeddings that are trained, the base's own or others, if any are."""
        tables = bank_of(self.adapted).tables
        if not tables.lookups:
            return None
        table = tables[tables.in_use]
        return table if table.requires_grad else None


class Seq2SeqAdapterTrainer(AdapterTrainer, Seq2SeqTrainer):
    """An AdapterTrainer that can generate to evaluate: `predict_with_generate`."""


class AdapterTrainerCallback(TrainerCallback):
    """Sees to it that nothing is trained which checkpoints would not hold."""

    def __init__(self, trainer: AdapterTrainer) -> None:
        super().__init__()
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raise ConfigError when the base model is trained beside the adapters."""
        adapted = self.trainer.adapted
        tables = bank_of(adapted).tables
        kept = {id(tables[OWN])} if tables.lookups else set()
        loose = [
            name
            for name, parameter in base_of(adapted).named_parameters()
            if parameter.requires_grad and ATTRIBUTE not in name and id(parameter) not in kept
        ]
        if loose:
            raise ConfigError(
                f"{len(loose)} parameters of the base model would be trained ({loose[0]}, ...), "
                "and checkpoints of adapters do not hold them; call model.train_adapter(name) or "
                "model.freeze_model(), or train with transformers' Trainer"
            )


def _any_trained(parameters: Iterator[torch.nn.Parameter]) -> bool:
    return any(parameter.requires_grad for parameter in parameters)
