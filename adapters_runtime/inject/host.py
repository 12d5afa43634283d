"""The tensors of a frozen module that adapters stand at.

Some modules do not hold their tensors as plain numbers: quantised ones pack them, and accelerate
keeps those of an offloaded model elsewhere while the module does not run.
"""

from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.errors import UnreadableWeight


def read(module: nn.Module, name: str) -> Tensor | None:
    """Return a tensor of a module for reading; raises UnreadableWeight when it is packed."""
    value: Any = getattr(module, name, None)
    if value is None:
        return None
    if is_packed(value):
        raise UnreadableWeight(type(module).__name__, "read")
    return fetched(module, name) if value.is_meta else value


def writable(module: nn.Module, name: str) -> nn.Parameter:
    """Return a parameter to write into, by its dotted name.

    Raises UnreadableWeight when writing would not change what the module computes with.
    """
    path, _, own = name.rpartition(".")
    value: Any = getattr(module.get_submodule(path), own)
    if is_packed(value) or value.is_meta:
        raise UnreadableWeight(type(module).__name__, "changed")
    return module.get_parameter(name)


def is_packed(value: Any) -> bool:
    """Return whether a weight is quantised, by whatever library.

    torch's own int8 modules have a method in the place of the tensor, bitsandbytes and GPTQ have
    integers, torchao has tensors that say of themselves how they are unpacked.
    """
    if not isinstance(value, Tensor):
        return True
    whole_numbers = not value.is_floating_point() or value.element_size() == 1
    return whole_numbers or type(value).dequantize is not Tensor.dequantize


def place_of(module: nn.Module, tensor: Tensor) -> torch.device:
    """Return where a module computes; an offloaded tensor is itself nowhere."""
    hook: Any = getattr(module, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return tensor.device if device is None or not tensor.is_meta else torch.device(device)


def fetched(module: nn.Module, name: str) -> Tensor:
    """Return an offloaded tensor from where accelerate keeps it; a meta tensor as it is."""
    own: Tensor = getattr(module, name)
    kept = getattr(getattr(module, "_hf_hook", None), "weights_map", None)
    return own if kept is None else kept[name].to(place_of(module, own))
