"""Tensors of a file put into the parameters that wait for them: all, or none."""

from collections.abc import Mapping

import torch
from torch import Tensor

from adapters_runtime.errors import FormatError, TensorMismatch


def check_tensors(
    tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor], subject: str
) -> None:
    """Raise TensorMismatch unless both have the same names and shapes.

    FormatError where a tensor's values cannot be those of a parameter.
    """
    misshapen = {
        key: (tuple(parameters[key].shape), tuple(tensor.shape))
        for key, tensor in tensors.items()
        if key in parameters and parameters[key].shape != tensor.shape
    }
    missing = sorted(parameters.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - parameters.keys())
    if missing or unexpected or misshapen:
        raise TensorMismatch(subject, missing, unexpected, misshapen)
    for key, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.is_meta or tensor.layout is not torch.strided:
            raise FormatError(f"{subject}: {key} holds no weights, but {_kind(tensor)}")


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} ({tensor.layout}, on {tensor.device})"


@torch.no_grad()
def copy_tensors(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    for key, parameter in parameters.items():
        parameter.copy_(tensors[key])
