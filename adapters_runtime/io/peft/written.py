"""What is written as a checkpoint of PEFT: fields of its configuration, and tensors."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import ATTRIBUTE, bank_of
from adapters_runtime.io.peft.checkpoint import ROOTS

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class Written:
    """A part of a checkpoint; tensors have full names without PEFT's root."""

    fields: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)
    root: str = ROOTS[0]

    def name(self, key: str) -> str:
        """Return a tensor's name in the file; a soft prompt belongs to no module, and no root."""
        return f"{self.root}{key}" if "." in key else key


class Source:
    """An adapter and the modules beside which it stands, by full names."""

    def __init__(self, model: "PreTrainedModel", name: str) -> None:
        self.model = model
        self.name = name
        self.bank = bank_of(model)

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        return {
            path: module
            for path, module in self.model.named_modules()
            if path and ATTRIBUTE not in path.split(".")
        }

    def path(self, module: nn.Module) -> str:
        return self._paths[module]

    @cached_property
    def _paths(self) -> dict[nn.Module, str]:
        return {module: path for path, module in self.modules.items()}

    def refusal(self, why: str) -> ConfigError:
        """Return the error for what PEFT has no place for."""
        return ConfigError(
            f"adapter {self.name!r} cannot be written for PEFT: {why}; save_adapter keeps it as it "
            "is, in AdapterHub's layout"
        )
