"""Checkpoints of PEFT's prefix tuning and prompt tuning.

What an encoder made of them is saved, so that they hold plain keys and values, or embeddings.
"""

import torch
from torch import Tensor

from adapters_runtime.architectures import Architecture
from adapters_runtime.configs import PeftPrefixConfig, PeftPromptConfig
from adapters_runtime.errors import FormatError, TensorMismatch
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io.peft import options
from adapters_runtime.io.peft.checkpoint import Checkpoint, Part

EMBEDDINGS = "prompt_embeddings"


def read_prefix(checkpoint: Checkpoint, left: dict[str, Tensor]) -> list[Part]:
    """Take the prefixes, (length, layers · 2 · key width), out of `left`."""
    prefixes = _take(checkpoint, left)
    architecture = bank_of(checkpoint.model).architecture
    if len(architecture.stacks) > 1:
        prefixes = reordered(prefixes, decoder_order(_layers(checkpoint)))
    config = PeftPrefixConfig(prefix_length=len(prefixes))
    pool, location = own_prefixes(architecture)
    key = f"{pool}.prefix_tunings.*.{location}.control_trans"
    return [(config, {key: prefixes.reshape(-1)})]


def read_prompt(checkpoint: Checkpoint, left: dict[str, Tensor]) -> list[Part]:
    """Take the prompt, (length, width), out of `left`.

    An encoder-decoder's checkpoint has one for the decoder too, which PEFT never uses.
    """
    prompt = _take(checkpoint, left)
    _require_one_embedding(checkpoint)
    config = PeftPromptConfig(prompt_length=_length(checkpoint))
    key = "prompt_tuning.prompt_tunings.*.prompt_embedding.weight"
    return [(config, {key: prompt[: _length(checkpoint)].clone()})]


def _require_one_embedding(checkpoint: Checkpoint) -> None:
    """Raise FormatError where PEFT looks tokens up elsewhere than the model's encoder does.

    In a model without a head it takes the encoder's table.
    """
    bare = checkpoint.model is checkpoint.base
    if bare or not checkpoint.model.config.is_encoder_decoder:
        return
    shared, _ = checkpoint.token_embeddings
    own = checkpoint.model.get_encoder().get_input_embeddings()
    if not torch.equal(shared.weight, own.weight):  # type: ignore[union-attr, arg-type]
        raise FormatError(
            f"{checkpoint.source} holds a prompt, and the encoder of this model has a token "
            "embedding of its own, which PEFT does not use; it cannot be loaded"
        )


def own_prefixes(architecture: Architecture) -> tuple[str, str]:
    """Return the pool and the location of self-attention's prefixes in AdapterHub's files."""
    for stack in architecture.stacks:
        for attention in stack.attentions:
            if attention.role == "self":
                return stack.pool, attention.prefixes_saved_as or "self_prefix"
    raise FormatError(f"{architecture.model_type} has no self-attention with a place for prefixes")


def decoder_order(layers: int) -> list[int]:
    """Return which of the saved layers each layer of a decoder uses.

    PEFT cuts [layers, layers] into shares for self- and cross-attention, and then drops the second
    of each, so that layer i comes to use what was saved for layer 2 i.
    """
    return [2 * layer % layers for layer in range(layers)]


def reordered(prefixes: Tensor, order: list[int]) -> Tensor:
    """Return the prefixes with their layers, the shares of the columns, in this order."""
    chosen: Tensor = prefixes.unflatten(1, (len(order), -1))[:, order]
    return chosen.flatten(1)


def _take(checkpoint: Checkpoint, left: dict[str, Tensor]) -> Tensor:
    if EMBEDDINGS not in left:
        raise TensorMismatch(str(checkpoint.source), [EMBEDDINGS])
    taken = left.pop(EMBEDDINGS)
    parts = checkpoint.document.get("num_transformer_submodules") or 1
    lengths = {_length(checkpoint), _length(checkpoint) * int(parts)}
    if taken.dim() != 2 or len(taken) not in lengths:
        raise FormatError(
            f"{EMBEDDINGS} in {checkpoint.source} is {list(taken.shape)}, and should have "
            f"num_virtual_tokens={_length(checkpoint)} rows"
        )
    return taken


def _length(checkpoint: Checkpoint) -> int:
    return int(options.number(checkpoint.document, "num_virtual_tokens", 0))


def _layers(checkpoint: Checkpoint) -> int:
    return int(options.number(checkpoint.document, "num_layers", 0)) or 1
