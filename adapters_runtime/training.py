"""Training adapters with the Trainer of transformers: checkpoints hold adapters, never the base."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME

from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import files, folder


class AdapterTrainer(Trainer):
    """A Trainer whose checkpoints are one adapter folder (with its head) per trained adapter.

    Raises ConfigError when no adapter is trained: call `model.train_adapter(...)` before.
    """

    def __init__(self, model: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(model, *args, **kwargs)
        self.adapted: Any = self.model
        """The model; the Trainer's own attribute is typed as one without adapters."""
        if not self.trained_adapters():
            raise ConfigError(
                "no adapter of this model is trained; call model.train_adapter(name) first"
            )
        if self.args.label_names is None:
            self.label_names = self._labels_of_heads() or self.label_names

    def _labels_of_heads(self) -> list[str]:
        """Return the arguments that hold what the active heads are to predict."""
        heads: list[Any] = getattr(self.adapted, "active_heads", list)()
        return list(dict.fromkeys(name for head in heads for name in head.get_label_names()))

    def trained_adapters(self) -> list[str]:
        bank = bank_of(self.adapted)
        return [
            name
            for name in bank.configs
            if any(parameter.requires_grad for parameter in bank.parameters_of(name))
        ]

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        if not self.args.should_save:
            return
        target = Path(output_dir or str(self.args.output_dir))
        target.mkdir(parents=True, exist_ok=True)
        for name in self.trained_adapters():
            self.adapted.save_adapter(_folder_of(target, name), name)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(target))
        torch.save(self.args, target / TRAINING_ARGS_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        for name in self.trained_adapters():
            source = _folder_of(Path(resume_from_checkpoint), name)
            if (source / files.CONFIG).is_file():
                folder.refill(self.adapted, source, name)

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint
        assert best is not None  # the Trainer calls this only when there is one
        self._load_from_checkpoint(best)


def _folder_of(checkpoint: Path, name: str) -> Path:
    # A name may hold slashes, which would nest folders, or be no name for a folder at all.
    return checkpoint / quote(name, safe="@+,")
