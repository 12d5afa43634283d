"""The points of a model, as its architecture's specification places them."""

from collections.abc import Iterator
from typing import Any, get_args

from torch import nn

from adapters_runtime.architectures import (
    Architecture,
    Attention,
    FusedProjection,
    LoRAField,
    list_layers,
)
from adapters_runtime.configs import AdapterMethod
from adapters_runtime.context import Activations
from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from adapters_runtime.inject.flattened import unflatten
from adapters_runtime.inject.linear_point import LinearPoint, Location
from adapters_runtime.inject.paths import find, in_features
from adapters_runtime.inject.placed import PlacedLayer, config_at, groups_of
from adapters_runtime.inject.point import Point
from adapters_runtime.inject.positions import PositionPoint
from adapters_runtime.inject.prefix_placement import prefix_points
from adapters_runtime.inject.prompt_placement import prompt_points
from adapters_runtime.inject.reft_point import reft_points
from adapters_runtime.inject.residual_hooks import residual_hooks
from adapters_runtime.inject.shared_point import SharedPoint
from adapters_runtime.inject.stream_point import InvertiblePoint, RowsPoint
from adapters_runtime.inject.token_tables import TokenTables
from adapters_runtime.methods.phm import PHM
from adapters_runtime.methods.vera import VeRA


def place(base: nn.Module, architecture: Architecture, activations: Activations) -> list[Point]:
    """Return a point, without adapters, for each place where one can stand."""
    points: list[Point] = list(_stream_points(base, architecture, activations))
    parameters = [name for name, _ in base.named_parameters()]
    layers = [PlacedLayer(layer, base) for layer in list_layers(architecture, parameters)]
    for layer in layers:
        points += _layer_points(layer, activations)
    if architecture.allows(AdapterMethod.prefix_tuning):
        points += prefix_points(base, architecture, layers, activations)
    points.append(PositionPoint(base, architecture, activations))
    points += reft_points(base, architecture, layers, activations)
    bottlenecks = [point for point in points if isinstance(point, BottleneckPoint)]
    shared = architecture.shared_saved_in
    points.append(SharedPoint(shared, activations, PHM, bottlenecks))
    linears = [point for point in points if isinstance(point, LinearPoint)]
    points.append(SharedPoint(shared, activations, VeRA, linears))
    return points


def _stream_points(
    base: nn.Module, architecture: Architecture, activations: Activations
) -> Iterator[Point]:
    embeddings = find(base, architecture.embedding_output)
    path = architecture.invertible_saved_as.rpartition(".")[0]
    width = _stream_width(config_at(base, architecture.embedding_output))
    lookups = [find(base, lookup) for lookup in architecture.lookups]
    yield from prompt_points(base, architecture, activations, width)
    yield InvertiblePoint(
        path,
        activations,
        embeddings,
        lookups,
        width,
        unscaled=architecture.inverts_unscaled,
    )
    yield TokenTables(activations, lookups)
    if lookups:
        yield RowsPoint(activations, lookups)


def _stream_width(config: Any) -> int:
    # ALBERT and ELECTRA embed into a narrower space, and widen it after the embeddings.
    return int(getattr(config, "embedding_size", None) or config.hidden_size)


def _layer_points(layer: PlacedLayer, activations: Activations) -> Iterator[Point]:
    yield from _bottlenecks(layer, activations)
    for attention in layer.stack.attentions:
        if attention.lora:
            yield from _projections(layer, attention, activations)
    for field in get_args(LoRAField):
        path = layer.stack.lora_map(field)
        if path is not None:
            point = _linear(layer, path, Location(field), activations)
            if layer.stack.flattens:
                unflatten(point, layer.module)
            yield point


def _bottlenecks(layer: PlacedLayer, activations: Activations) -> Iterator[Point]:
    width = in_features(layer.find(layer.stack.reader))
    for site in layer.stack.sites:
        norm = None if site.norm is None else layer.find(site.norm)
        path = f"{layer.saved_path}.{site.saved_as}"
        point = BottleneckPoint(path, layer.index, activations, site, width, norm)
        captured = [layer.find(residual.partition(":")[2]) for residual in site.residual]
        point.hooks = residual_hooks(point, captured, layer.find(site.out))
        if layer.stack.flattens:
            unflatten(point, layer.module)
        yield point


def _projections(
    layer: PlacedLayer, attention: Attention, activations: Activations
) -> Iterator[Point]:
    for matrix, projection in (
        ("q", attention.query),
        ("k", attention.key),
        ("v", attention.value),
    ):
        if projection is not None:
            last = attention.query_last and matrix == "q"
            location = Location("selfattn_lora", (matrix,), last)
            yield _linear(layer, f"{attention.path}.{projection}", location, activations)
    if attention.fused is not None:
        yield _fused(layer, attention, attention.fused, activations)


def _linear(
    layer: PlacedLayer, path: str, location: Location, activations: Activations
) -> LinearPoint:
    module = layer.find(path)
    return LinearPoint(layer.saved_as(path), layer.index, activations, module, location)


def _fused(
    layer: PlacedLayer, attention: Attention, fused: FusedProjection, activations: Activations
) -> LinearPoint:
    path = f"{attention.path}.{fused.path}"
    widths = layer.part_widths(attention)
    groups = groups_of(fused, widths, layer.config.num_attention_heads)
    location = Location("selfattn_lora", fused.parts)
    return LinearPoint(
        layer.saved_as(path),
        layer.index,
        activations,
        layer.find(path),
        location,
        list(widths.values()),
        groups,
    )
