"""A base model as far as shapes need it: its type, its config.json, and its tensor index."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapters_runtime.architectures import (
    Architecture,
    Attention,
    FusedProjection,
    Layer,
    architecture_of_config,
    fitted,
    list_layers,
    part_widths,
)
from adapters_runtime.errors import FormatError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class BaseDescription:
    """Sizes are read off the tensors; the configuration is asked only for numbers of heads."""

    model_type: str
    config: Mapping[str, Any]
    """The document config.json."""
    tensors: Mapping[str, Shape]
    """Parameters by their names relative to the base model, as transformers names them today."""

    @cached_property
    def architecture(self) -> Architecture:
        return fitted(
            architecture_of_config({**self.config, "model_type": self.model_type}), self.tensors
        )

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        layers = list_layers(self.architecture, self.tensors)
        if not layers:
            paths = ", ".join(stack.path for stack in self.architecture.stacks)
            raise FormatError(
                f"the tensor index of this {self.model_type} names no layer (looked at: {paths}); "
                "its names must be relative to the base model"
            )
        return layers

    def config_of(self, layer: Layer) -> Mapping[str, Any]:
        """Return the part of the configuration that describes a layer."""
        part = layer.stack.part.partition(".")[0]
        found = self.config.get(part) if part else self.config
        return found if isinstance(found, Mapping) else {}

    def keeps_turned(self, path: str) -> bool:
        """Whether the linear map at a path keeps its weight as (in, out)."""
        return any(path.startswith(f"{each.path}.") for each in self.layers if each.stack.conv1d)

    def resolve(self, layer: Layer, path: str) -> str:
        """Return the path, within the layer, of a linear map; `a|b` is the one of the two it has.

        Raises FormatError when the index has neither.
        """
        for option in path.split("|"):
            if f"{layer.path}.{option}.weight" in self.tensors:
                return option
        raise FormatError(f"the tensor index has no {layer.path}.{path}.weight")

    def linear(self, layer: Layer, path: str) -> tuple[int, int]:
        """Return (out_features, in_features) of a linear map."""
        name = f"{layer.path}.{self.resolve(layer, path)}.weight"
        shape = self.tensors[name]
        if len(shape) != 2:
            raise FormatError(f"{name} is {list(shape)}, and no matrix")
        return (shape[1], shape[0]) if layer.stack.conv1d else (shape[0], shape[1])

    def width(self, layer: Layer) -> int:
        """Return the size of the stream that enters the layer's sub-blocks."""
        return self.linear(layer, layer.stack.reader)[1]

    @property
    def shared_path(self) -> str:
        """Where files keep what all layers of an adapter share."""
        return ".".join(filter(None, (self.architecture.shared_saved_in, "shared_parameters")))

    @property
    def stream_width(self) -> int:
        """Size of the embedding stream; ALBERT and ELECTRA widen it only after the embeddings."""
        given = self.config_of(self.layers[0]).get("embedding_size")
        return given if isinstance(given, int) else self.width(self.layers[0])

    @property
    def output_width(self) -> int:
        """Size of what the last layer gives, which heads read."""
        return self.width(self.layers[-1])

    @property
    def token_embedding(self) -> Shape | None:
        """Shape of the token embedding, (vocabulary, width); None when the index names none."""
        path = self.architecture.token_embedding
        return None if path is None else self.tensors.get(f"{path}.weight")

    @property
    def ties_output(self) -> bool:
        """Whether the model projects to the vocabulary with its token embedding.

        T5's configuration always says so, and marks checkpoints that do not by not scaling their
        decoder's output.
        """
        tied = self.config.get("tie_word_embeddings")
        if tied is None:
            tied = self.architecture.ties_output
        return bool(tied) and self.config.get("scale_decoder_outputs") is not False

    def key_width(self, layer: Layer, attention: Attention) -> int:
        """Return the size of all key heads together; grouped-query models have few of them."""
        if attention.fused is not None:
            return self.fused_widths(layer, attention)["k"]
        return self.linear(layer, f"{attention.path}.{attention.key}")[0]

    def fused_widths(self, layer: Layer, attention: Attention) -> dict[str, int]:
        """Return the size of each part of a fused projection."""
        fused = _fused(attention)
        total = self.linear(layer, f"{attention.path}.{fused.path}")[0]
        config = self.config_of(layer)
        heads = self._number(config, "num_attention_heads", "n_head", "num_heads")
        grouped = config.get("num_key_value_heads") is not None
        key_heads = self._number(config, "num_key_value_heads") if grouped else None
        widths = part_widths(fused, total, heads, key_heads, self.width(layer))
        if widths is None:
            heads_of_both = f"{heads} heads" + (f" and {key_heads} key heads" if grouped else "")
            raise FormatError(
                f"{layer.path}.{attention.path}.{fused.path} gives {total} features, which "
                f"{heads_of_both} cannot share"
            )
        return widths

    def _number(self, config: Mapping[str, Any], *names: str) -> int:
        for name in names:
            value = config.get(name)
            if type(value) is int and value > 0:
                return value
        raise FormatError(f"config.json of this {self.model_type} has no valid {names[0]}")


def _fused(attention: Attention) -> FusedProjection:
    if attention.fused is None:
        raise ValueError(f"{attention.path} has separate projections")
    return attention.fused
