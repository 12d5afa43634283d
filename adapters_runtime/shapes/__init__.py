"""Which tensors an adapter, a fusion or a head must have, found without torch or weights."""

from adapters_runtime.shapes.base import BaseDescription, Shape
from adapters_runtime.shapes.copies import originals, strip_base_prefix, without_copies
from adapters_runtime.shapes.expected import (
    available_places,
    expected_fusion_tensors,
    expected_tensors,
    fused_points,
    fused_sites,
    fusion_tensors_at,
)
from adapters_runtime.shapes.heads import HEAD_TYPES, expected_head_tensors, tied_head_tensors
from adapters_runtime.shapes.static_heads import (
    expected_static_head_tensors,
    head_dimensions,
    head_type_of,
)

__all__ = [
    "HEAD_TYPES",
    "BaseDescription",
    "Shape",
    "available_places",
    "expected_fusion_tensors",
    "expected_head_tensors",
    "expected_static_head_tensors",
    "expected_tensors",
    "fused_points",
    "fused_sites",
    "fusion_tensors_at",
    "head_dimensions",
    "head_type_of",
    "originals",
    "strip_base_prefix",
    "tied_head_tensors",
    "without_copies",
]
