"""The trainers where AdapterHub's library has them."""

from adapters_runtime.training import (
    AdapterTrainer,
    AdapterTrainerCallback,
    Seq2SeqAdapterTrainer,
)

__all__ = ["AdapterTrainer", "AdapterTrainerCallback", "Seq2SeqAdapterTrainer"]
