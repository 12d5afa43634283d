"""PEFT's trainable tokens: own rows of the token embedding, in the place of the base's."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from adapters_runtime.configs import EmbeddingRowsConfig
from adapters_runtime.errors import FormatError, TensorMismatch
from adapters_runtime.io.peft.checkpoint import Checkpoint, Part

SUFFIX = ".token_adapter.trainable_tokens_delta"


def read_rows(
    checkpoint: Checkpoint, left: dict[str, Tensor], adapted: Collection[str]
) -> list[Part]:
    """Take the rows out of `left`, if there are any; FormatError unless they are the text's."""
    wanted = checkpoint.document.get("trainable_token_indices")
    found = {key.removesuffix(SUFFIX): key for key in left if key.endswith(SUFFIX)}
    if not wanted:
        return []
    if not found:
        raise TensorMismatch(str(checkpoint.source), [f"*{SUFFIX}"])
    start, _ = checkpoint.token_embeddings
    own = {name: key for name, key in found.items() if checkpoint.modules.get(name) is start}
    several = checkpoint.model.config.is_encoder_decoder
    if several or own != found or own.keys() & set(adapted):
        raise FormatError(
            f"{checkpoint.source} sets trainable_token_indices for {', '.join(sorted(found))}; "
            "they can be loaded for the one token embedding of a model where no LoRA stands"
        )
    _require_output_without_bias(checkpoint)
    ((name, key),) = own.items()
    ids, rows = _ids(checkpoint, name, wanted), left.pop(key)
    if len(rows) != len(ids):
        raise FormatError(f"{key} has {len(rows)} rows for {len(ids)} trainable_token_indices")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    config = EmbeddingRowsConfig(token_ids=tuple(ids[i] for i in order))
    return [(config, {"embedding_rows.*.weight": rows[torch.tensor(order)]})]


def _require_output_without_bias(checkpoint: Checkpoint) -> None:
    """Raise FormatError where PEFT, which has the rows in a tied output too, drops its bias."""
    _, end = checkpoint.token_embeddings
    if checkpoint.tied and getattr(end, "bias", None) is not None:
        raise FormatError(
            f"{checkpoint.source} sets trainable_token_indices, and the output of this model is "
            "tied to its token embedding and has a bias, which PEFT drops; it cannot be loaded"
        )


def _ids(checkpoint: Checkpoint, name: str, wanted: Any) -> list[int]:
    if isinstance(wanted, dict):
        if len(wanted) != 1 or not f".{name}".endswith(f".{next(iter(wanted))}"):
            raise FormatError(
                f"{checkpoint.source} sets trainable_token_indices of {', '.join(wanted)}, and has "
                f"rows of {name}"
            )
        wanted = next(iter(wanted.values()))
    if not isinstance(wanted, list) or not all(type(each) is int for each in wanted):
        raise FormatError(
            f"trainable_token_indices of a PEFT configuration must be a list of ids, not {wanted!r}"
        )
    return wanted
