"""A language modelling head that brings its own token embedding.

AdapterHub's library ties such a head to the base's embedding and saves the weight with the head, so
a head that was trained with its embedding comes with another table than the base's. It is used on
both ends while the head is active; the base's own stays as it is for all others.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class LookUpOwnTable:
    """Hook on the token embedding of a model with flexible heads."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        table = self.model.active_table()
        return None if table is None else F.embedding(args[0], table)
