"""Models made of two: an encoder and a decoder that attends to it (checked on transformers 5.24.0).

Any encoder may be joined to any decoder of a type that knows cross-attention. What such a pair is
follows from the specifications of its parts.
"""

from dataclasses import replace

from adapters_runtime.architectures.spec import Architecture, Attention, LayerStack, StackRole
from adapters_runtime.errors import UnsupportedPair

PAIR = "encoder-decoder"
"""The model type of a pair; its configuration says those of its parts."""


def paired(encoder: Architecture, decoder: Architecture) -> Architecture:
    """Return the specification of a pair; raises UnsupportedPair if one is no such part."""
    body = f"decoder.{decoder.base_prefix}"
    token = encoder.token_embedding
    return Architecture(
        model_type=PAIR,
        base_prefix="encoder_decoder",
        stacks=(
            _within("encoder", _encoding(encoder), "encoder"),
            _within(body, _decoding(decoder), "decoder"),
        ),
        embedding_output=f"encoder.{encoder.embedding_output}",
        token_embedding=f"encoder.{token}",
        token_lookups=tuple(f"encoder.{path}" for path in encoder.token_lookups),
        invertible_saved_as="encoder.invertible_adapters",
        shared_saved_in="encoder",
        embedding_parameters=(
            *(f"encoder.{prefix}" for prefix in encoder.embedding_parameters),
            *(f"{body}.{prefix}" for prefix in decoder.embedding_parameters),
        ),
        pooler_parameters=(
            *(f"encoder.{prefix}" for prefix in encoder.pooler_parameters),
            *(f"{body}.{prefix}" for prefix in decoder.pooler_parameters),
        ),
        # Whatever else the decoder has is its head.
        body_parameters=("encoder.", f"{body}.", "enc_to_dec_proj."),
        inverts_at_static_head=False,
        inverts_unscaled=encoder.inverts_unscaled,
        ties_output=False,
        prompts=None if encoder.prompts is None else "inputs",
        counts_places=encoder.counts_places,
        methods=_allowed(encoder.methods, decoder.methods),
    )


def _allowed(*limits: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the methods that may stand in both halves."""
    known = [set(methods) for methods in limits if methods is not None]
    return tuple(sorted(set.intersection(*known))) if known else None


def _encoding(encoder: Architecture) -> LayerStack:
    """Return the layers of an encoder."""
    if len(encoder.stacks) > 1:
        raise UnsupportedPair(encoder.model_type, "encoder", "it is a pair of two stacks by itself")
    if encoder.token_embedding is None:
        raise UnsupportedPair(encoder.model_type, "encoder", "it reads no tokens")
    stack = encoder.stacks[0]
    return replace(stack, attentions=tuple(map(_of_encoder, stack.attentions)))


def _of_encoder(attention: Attention) -> Attention:
    # AdapterHub's library calls its prefixes what it calls those of the encoder alone.
    saved_as = attention.prefixes_saved_as or f"{attention.role}_prefix"
    return replace(attention, role="encoder", prefixes_saved_as=saved_as)


def _decoding(decoder: Architecture) -> LayerStack:
    """Return the layers of a decoder; BART's is one half of a model."""
    for stack in decoder.stacks:
        if any(attention.role == "cross" for attention in stack.attentions):
            return stack
    raise UnsupportedPair(decoder.model_type, "decoder", "no cross-attention of it is described")


def _within(part: str, stack: LayerStack, role: StackRole) -> LayerStack:
    saved = stack.saved_path
    return replace(
        stack,
        path=f"{part}.{stack.path}",
        saved_path=None if saved is None else f"{part}.{saved}",
        role=role,
        part=part,
    )
