"""The folder of token embeddings: their weight, and the tokenizer that they are for."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from adapters_runtime import identity
from adapters_runtime.errors import FormatError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import files, hub_files
from adapters_runtime.io.staging import staged

WEIGHT = "embedding.safetensors"
OLD_WEIGHT = "embedding.pt"
"""AdapterHub's: a pickled tensor."""
TOKENIZER = "tokenizer"
KEY = "weight"


@dataclass(frozen=True)
class Embeddings:
    """What a folder holds: the weight is (vocabulary, width), the tokenizer may be missing."""

    weight: Tensor
    tokenizer: Any
    origin: dict[str, Any]
    """`ref` and `content` of the published version that the folder is."""


def save(model: nn.Module, folder: Path, name: str, tokenizer: Any) -> None:
    """Write embeddings; in a folder that is an adapter's already, what is said of that stays."""
    bank = bank_of(model)
    weight = bank.tables[name]
    base = identity.base_identity(model, bank.tokenizer, **bank.base_name)
    others = (files.CONFIG, files.FUSION_CONFIG, files.HEAD_CONFIG)
    alone = not any((folder / config).is_file() for config in others)
    with staged(folder, (WEIGHT, OLD_WEIGHT, *(files.HUB_FILES if alone else ()))) as staging:
        write_weight(staging, weight)
        if alone:
            files.write_json(staging / files.HUB, hub_files.hub_embedding(base))
            files.write_json(staging / files.HUB_BASE, hub_files.hub_base(model, base))
    if tokenizer is not None:
        tokenizer.save_pretrained(folder / TOKENIZER)


def write_weight(folder: Path, weight: Tensor) -> None:
    """Write the weight alone, as a checkpoint needs it."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_tensors(folder / WEIGHT, {KEY: weight})


def read(folder: Path) -> Embeddings:
    """Read a folder; raises FormatError."""
    weight = _weight(folder)
    if weight.dim() != 2 or not weight.is_floating_point():
        raise FormatError(f"{folder} holds no embedding, but {weight.dtype} {list(weight.shape)}")
    stored = folder / TOKENIZER
    tokenizer = _tokenizer(stored) if stored.is_dir() else None
    if tokenizer is not None and len(tokenizer) > len(weight):
        raise FormatError(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, but there are only "
            f"{len(weight)} vectors"
        )
    origin = files.read_json(folder / files.ORIGIN) if (folder / files.ORIGIN).is_file() else {}
    return Embeddings(weight, tokenizer, {key: origin.get(key) for key in ("ref", "content")})


def _tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers has none of its own
        raise FormatError(f"{folder} holds no tokenizer: {error}") from error


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
