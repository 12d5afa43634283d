"""Where prefixes stand: one point for each attention, and the pool they share."""

from collections.abc import Sequence

from torch import nn

from adapters_runtime.architectures import Architecture, Attention, LayerStack
from adapters_runtime.context import Activations
from adapters_runtime.inject.attention import (
    PadBias,
    RecomputeBias,
    UseOurs,
    Widen,
    enter_by_interface,
)
from adapters_runtime.inject.paths import find, in_features, out_features
from adapters_runtime.inject.placed import PlacedLayer
from adapters_runtime.inject.point import Attachment, Hook, Outside, Point
from adapters_runtime.inject.prefix_point import (
    ClosePass,
    OpenPass,
    PrefixPoint,
    PrefixPool,
    Widths,
)
from adapters_runtime.inject.softmax_attention import enter_by_softmax
from adapters_runtime.inject.wrapped_attention import METHOD, enter_by_wrapping


def prefix_points(
    base: nn.Module,
    architecture: Architecture,
    layers: Sequence[PlacedLayer],
    activations: Activations,
) -> list[Point]:
    parts = dict.fromkeys(layer.stack.part for layer in layers)
    return [
        point
        for part in parts
        for point in _of_part(
            base, architecture, [layer for layer in layers if layer.stack.part == part], activations
        )
    ]


def _of_part(
    base: nn.Module,
    architecture: Architecture,
    layers: Sequence[PlacedLayer],
    activations: Activations,
) -> list[Point]:
    """Return the points of layers that have one pool."""
    points = []
    for layer in layers:
        for attention in layer.stack.attentions:
            point = _point(layer, attention, activations)
            point.hooks = _entrance(point, architecture, layers, layer, attention)
            points.append(point)
    first = layers[0].stack
    pool = PrefixPool(first.pool, activations, points)
    whole = Outside(base)
    pool.hooks = [Hook(whole, OpenPass(pool), pre=True), Hook(whole, ClosePass(pool), always=True)]
    if _way_in(first, layers[0].find(first.attentions[0].path)) == "interface":
        pool.add_hook(UseOurs(find(base, first.part)))
    # The attentions come second: what they hold is a part of what the pool has built.
    return [pool, *points]


def _point(layer: PlacedLayer, attention: Attention, activations: Activations) -> PrefixPoint:
    field = f"{attention.role}_prefix"
    widths = Widths(
        field, _key_width(layer, attention), in_features(layer.find(layer.stack.reader))
    )
    path = f"{layer.saved_as(attention.path)}.prefix_tuning"
    location = attention.prefixes_saved_as or field
    return PrefixPoint(path, layer.index, activations, location, widths)


def _key_width(layer: PlacedLayer, attention: Attention) -> int:
    if attention.fused is None:
        return out_features(layer.find(f"{attention.path}.{attention.key}"))
    return layer.part_widths(attention)["k"]


def _entrance(
    point: PrefixPoint,
    architecture: Architecture,
    layers: Sequence[PlacedLayer],
    layer: PlacedLayer,
    attention: Attention,
) -> list[Attachment]:
    module = layer.find(attention.path)
    way_in = _way_in(layer.stack, module)
    if way_in == "softmax":
        output = layer.find(attention.output)
        return enter_by_softmax(point, module, output, attention)
    if way_in == "wrapped":
        return enter_by_wrapping(point, module)
    return enter_by_interface(point, module, _bias(architecture, layers, layer, attention))


def _way_in(stack: LayerStack, attention: nn.Module) -> str:
    # As GPT-J's before transformers 5.24.
    return "wrapped" if hasattr(type(attention), METHOD) else stack.attention


def _bias(
    architecture: Architecture,
    layers: Sequence[PlacedLayer],
    layer: PlacedLayer,
    attention: Attention,
) -> Widen:
    if architecture.prefix_bias == "pad" or attention.role == "cross":
        return PadBias()
    first = next(other for other in layers if other.stack is layer.stack)
    return RecomputeBias(first.find(attention.path))
