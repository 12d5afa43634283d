"""Tensors that stand before the layers: invertible adapters, prompts, embedding rows."""

from collections.abc import Iterator

from adapters_runtime.configs import (
    BnConfig,
    EmbeddingRowsConfig,
    PeftPromptConfig,
    PromptTuningConfig,
)
from adapters_runtime.errors import ConfigError, FormatError, UnsupportedSite
from adapters_runtime.shapes.base import BaseDescription, Shape


def invertible_tensors(
    name: str, config: BnConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield (key, shape) of the two functions that an invertible adapter is made of.

    NICE maps each half of the features to an offset of the other, GLOW to an offset and a scale.
    """
    if config.inv_adapter is None:
        return
    first = base.stream_width // 2
    second = base.stream_width - first
    prefix = f"{base.architecture.invertible_saved_as}.{name}"
    if config.inv_adapter == "nice":
        functions = {"F": (second, first), "G": (first, second)}
    else:
        functions = {"s1": (first, 2 * second), "s2": (second, 2 * first)}
    for function, (inputs, outputs) in functions.items():
        inner = max(1, int(inputs // (config.inv_adapter_reduction_factor or 1)))
        yield f"{prefix}.{function}.0.weight", (inner, inputs)
        yield f"{prefix}.{function}.0.bias", (inner,)
        yield f"{prefix}.{function}.2.weight", (outputs, inner)
        yield f"{prefix}.{function}.2.bias", (outputs,)


def prompt_tensors(
    name: str, config: PromptTuningConfig | PeftPromptConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    if base.architecture.prompts is None:
        return
    key = f"prompt_tuning.prompt_tunings.{name}.prompt_embedding.weight"
    yield key, (config.prompt_length, base.stream_width)


def rows_tensors(
    name: str, config: EmbeddingRowsConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield the one weight; ConfigError when a token id lies beyond the vocabulary."""
    path = base.architecture.token_embedding
    if path is None:
        raise UnsupportedSite(base.model_type, "embedding_rows", ())
    shape = base.tensors.get(f"{path}.weight")
    if shape is None or len(shape) != 2:
        raise FormatError(f"the tensor index has no matrix {path}.weight")
    vocabulary, width = shape
    if config.token_ids[-1] >= vocabulary:
        beyond = next(token for token in config.token_ids if token >= vocabulary)
        raise ConfigError(
            f"token id {beyond} lies beyond the base's vocabulary of {vocabulary} tokens"
        )
    yield f"embedding_rows.{name}.weight", (len(config.token_ids), width)
