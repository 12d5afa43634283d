"""The folder of token embeddings: their weight, and the tokenizer that they are for."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from adapters_runtime.errors import FormatError
from adapters_runtime.io import files

WEIGHT = "embedding.safetensors"
OLD_WEIGHT = "embedding.pt"
"""AdapterHub's: a pickled tensor."""
TOKENIZER = "tokenizer"
KEY = "weight"


def save(folder: Path, weight: Tensor, tokenizer: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files.write_tensors(folder / WEIGHT, {KEY: weight})
    if tokenizer is not None:
        tokenizer.save_pretrained(folder / TOKENIZER)


def read(folder: Path) -> tuple[Tensor, Any]:
    """Return the weight, (vocabulary, width), and the tokenizer or None; raises FormatError."""
    weight = _weight(folder)
    if weight.dim() != 2 or not weight.is_floating_point():
        raise FormatError(f"{folder} holds no embedding, but {weight.dtype} {list(weight.shape)}")
    stored = folder / TOKENIZER
    tokenizer = AutoTokenizer.from_pretrained(stored) if stored.is_dir() else None
    if tokenizer is not None and len(tokenizer) > len(weight):
        raise FormatError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, but there are only "
            f"{len(weight)} vectors"
        )
    return weight, tokenizer


def _weight(folder: Path) -> Tensor:
    if (folder / WEIGHT).is_file():
        tensors = files.read_tensors(folder / WEIGHT)
        if KEY not in tensors:
            raise FormatError(f"{folder / WEIGHT} has no tensor {KEY!r}")
        return tensors[KEY]
    old = folder / OLD_WEIGHT
    if not old.is_file():
        raise FormatError(f"{folder} has no embeddings: neither {WEIGHT} nor {OLD_WEIGHT}")
    try:
        tensor = torch.load(old, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise FormatError(f"{old} cannot be read: {error}") from error
    if not isinstance(tensor, Tensor):
        raise FormatError(f"{old} holds something else than a tensor")
    return tensor.detach()
