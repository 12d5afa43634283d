"""The points of a model, as its architecture's specification places them."""

from collections.abc import Iterator

from torch import nn

from adapters_runtime.architectures import (
    Architecture,
    Attention,
    FusedProjection,
    Layer,
    list_layers,
)
from adapters_runtime.context import Activations
from adapters_runtime.inject.bottleneck_point import BottleneckPoint, residual_hooks
from adapters_runtime.inject.linear_point import LinearPoint, Location
from adapters_runtime.inject.paths import find, in_features, out_features, path_within
from adapters_runtime.inject.point import Point
from adapters_runtime.inject.shared_point import SharedPoint
from adapters_runtime.inject.stream_point import InvertiblePoint, RowsPoint
from adapters_runtime.methods.phm import PHM
from adapters_runtime.methods.vera import VeRA


def place(base: nn.Module, architecture: Architecture, activations: Activations) -> list[Point]:
    """Return a point, without adapters, for each place where one can stand."""
    points: list[Point] = list(_stream_points(base, architecture, activations))
    parameters = [name for name, _ in base.named_parameters()]
    for layer in list_layers(architecture, parameters):
        points += _layer_points(_Placed(layer, base), activations)
    bottlenecks = [point for point in points if isinstance(point, BottleneckPoint)]
    points.append(SharedPoint(activations, PHM, bottlenecks))
    linears = [point for point in points if isinstance(point, LinearPoint)]
    points.append(SharedPoint(activations, VeRA, linears))
    return points


class _Placed:
    """One layer, its modules, and the names that AdapterHub's files have for them."""

    def __init__(self, layer: Layer, base: nn.Module) -> None:
        self.stack = layer.stack
        self.index = layer.index
        self.saved_path = layer.saved_path
        self.module = find(base, layer.path)
        self.config = base.config.get_text_config()  # type: ignore[operator, union-attr]

    def find(self, path: str) -> nn.Module:
        return find(self.module, path)

    def saved_as(self, path: str) -> str:
        return f"{self.saved_path}.{self.stack.saved_as(path_within(self.module, path))}"


def _stream_points(
    base: nn.Module, architecture: Architecture, activations: Activations
) -> Iterator[Point]:
    embeddings = find(base, architecture.embedding_output)
    path = architecture.invertible_saved_as.rpartition(".")[0]
    yield InvertiblePoint(path, activations, embeddings, _stream_width(base))
    if architecture.token_embedding is not None:
        lookups = architecture.token_lookups or (architecture.token_embedding,)
        yield RowsPoint(activations, [find(base, lookup) for lookup in lookups])


def _stream_width(base: nn.Module) -> int:
    config = base.config.get_text_config()  # type: ignore[operator, union-attr]
    # ALBERT and ELECTRA embed into a narrower space, and widen it after the embeddings.
    return int(getattr(config, "embedding_size", None) or config.hidden_size)


def _layer_points(layer: _Placed, activations: Activations) -> Iterator[Point]:
    yield from _bottlenecks(layer, activations)
    for attention in layer.stack.attentions:
        yield from _projections(layer, attention, activations)
    for field, path in (
        ("intermediate_lora", layer.stack.lora_intermediate),
        ("output_lora", layer.stack.lora_output),
    ):
        yield _linear(layer, path, Location(field), activations)


def _bottlenecks(layer: _Placed, activations: Activations) -> Iterator[Point]:
    width = in_features(layer.find(layer.stack.ffn_in[0]))
    for site in layer.stack.sites:
        norm = None if site.norm is None else layer.find(site.norm)
        path = f"{layer.saved_path}.{site.saved_as}"
        point = BottleneckPoint(path, layer.index, activations, site, width, norm)
        captured = [layer.find(residual.partition(":")[2]) for residual in site.residual]
        point.hooks = residual_hooks(point, captured, layer.find(site.out))
        yield point


def _projections(layer: _Placed, attention: Attention, activations: Activations) -> Iterator[Point]:
    for matrix, projection in (
        ("q", attention.query),
        ("k", attention.key),
        ("v", attention.value),
    ):
        if projection is not None:
            location = Location("selfattn_lora", (matrix,))
            yield _linear(layer, f"{attention.path}.{projection}", location, activations)
    if attention.fused is not None:
        yield _fused(layer, attention.path, attention.fused, activations)


def _linear(layer: _Placed, path: str, location: Location, activations: Activations) -> LinearPoint:
    module = layer.find(path)
    return LinearPoint(layer.saved_as(path), layer.index, activations, module, location)


def _fused(
    layer: _Placed, attention: str, fused: FusedProjection, activations: Activations
) -> LinearPoint:
    path = f"{attention}.{fused.path}"
    module = layer.find(path)
    heads = layer.config.num_attention_heads
    key_heads = getattr(layer.config, "num_key_value_heads", None) or heads
    head_width = out_features(module) // (heads + 2 * key_heads)
    widths = [(heads if part == "q" else key_heads) * head_width for part in fused.parts]
    location = Location("selfattn_lora", fused.parts)
    return LinearPoint(
        layer.saved_as(path), layer.index, activations, module, location, fused, widths, heads
    )
