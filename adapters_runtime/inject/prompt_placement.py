"""Where prompts enter a model."""

from collections.abc import Iterator

from torch import nn

from adapters_runtime.architectures import Architecture
from adapters_runtime.context import Activations
from adapters_runtime.inject.paths import find
from adapters_runtime.inject.point import Attachment
from adapters_runtime.inject.prompt_point import (
    InputPromptPoint,
    PromptPoint,
    after_embeddings,
    as_inputs,
)


def prompt_points(
    base: nn.Module, architecture: Architecture, activations: Activations, width: int
) -> Iterator[PromptPoint]:
    if architecture.prompts is None:
        return
    roles = {stack.role for stack in architecture.stacks}
    has_mask = architecture.token_embedding is not None
    fill_before = roles == {"decoder"}
    point = PromptPoint(activations, width, has_mask=has_mask, fill_before=fill_before)
    if architecture.prompts == "stream":
        embeddings = find(base, architecture.embedding_output)
        point.hooks = after_embeddings(
            point, base, embeddings, see_padding=_see_padding(base, architecture)
        )
    else:
        point.hooks = _as_inputs(point, base, architecture, whole=len(roles) == 1)
    yield point
    if has_mask:
        inputs = InputPromptPoint(activations, width, has_mask=True, fill_before=fill_before)
        inputs.hooks = _as_inputs(inputs, base, architecture, whole=len(roles) == 1)
        yield inputs


def _as_inputs(
    point: PromptPoint, base: nn.Module, architecture: Architecture, *, whole: bool
) -> list[Attachment]:
    """Return the hooks; an encoder-decoder's encoder is also called by itself, to generate."""
    assert architecture.token_embedding is not None
    if whole:
        return as_inputs(point, base, find(base, architecture.token_embedding), None)
    encoder, decoder = find(base, "encoder"), find(base, "decoder")
    return as_inputs(point, encoder, find(base, architecture.lookups[0]), decoder)


def _see_padding(base: nn.Module, architecture: Architecture) -> bool:
    # The convolution of DeBERTa's largest models cannot do with a mask of pairs.
    convolution = getattr(getattr(base, "encoder", None), "conv", None)
    return architecture.prompts_see_padding and convolution is None
