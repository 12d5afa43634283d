"""What the runtime knows of each model type, as data; nothing here loads torch."""

from adapters_runtime.architectures.heads import part_widths
from adapters_runtime.architectures.layers import Layer, fitted, halves, list_layers
from adapters_runtime.architectures.pairs import PAIR
from adapters_runtime.architectures.registry import (
    ARCHITECTURES,
    architecture_of_config,
    get_architecture,
    register,
)
from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    FusedProjection,
    LayerStack,
    LoRAField,
    ResidualSite,
    Role,
)

__all__ = [
    "ARCHITECTURES",
    "PAIR",
    "Architecture",
    "Attention",
    "FusedProjection",
    "Layer",
    "LayerStack",
    "LoRAField",
    "ResidualSite",
    "Role",
    "architecture_of_config",
    "fitted",
    "get_architecture",
    "halves",
    "list_layers",
    "part_widths",
    "register",
]
