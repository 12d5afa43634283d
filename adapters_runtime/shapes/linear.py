"""Tensors of LoRA and the methods that share its places."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from adapters_runtime.architectures import Architecture, Layer, LoRAField
from adapters_runtime.configs import LoRAConfig, MTLLoRAConfig
from adapters_runtime.errors import UnsupportedSite
from adapters_runtime.shapes.base import BaseDescription, Shape


@dataclass(frozen=True)
class AdaptedMap:
    """A linear map, or those parts of a fused one, that an adapter changes."""

    key: str
    inputs: int
    widths: tuple[int, ...]
    """Outputs of each adapted part: more than one where query and value, say, are fused."""

    @property
    def outputs(self) -> int:
        return sum(self.widths)

    @property
    def parts(self) -> int:
        return len(self.widths)


def lora_tensors(
    name: str, config: LoRAConfig, base: BaseDescription
) -> Iterator[tuple[str, Shape]]:
    """Yield (key, shape) of every module in every layer, and of the matrices that VeRA shares."""
    require_maps(base.architecture, config)
    maps = list(adapted_maps(config, base))
    for adapted in maps:
        for key, shape in _module(config, adapted):
            yield f"{adapted.key}.loras.{name}.{key}", shape
    if config.is_vera and maps:
        # VeRA's paper has equal maps only; where they differ, each takes its part of the largest.
        yield f"{base.shared_path}.{name}.lora_A", (config.r, max(each.inputs for each in maps))
        widest = max(width for each in maps for width in each.widths)
        yield f"{base.shared_path}.{name}.lora_B", (widest, config.r)


def require_maps(architecture: Architecture, config: LoRAConfig) -> None:
    """Raise UnsupportedSite for a map of the feed-forward block that not every stack has.

    Experts have none that all tokens go through.
    """
    fields: tuple[LoRAField, ...] = get_args(LoRAField)
    lacking = {
        field for field in fields if any(s.lora_map(field) is None for s in architecture.stacks)
    }
    if asked := [field for field in fields if field in lacking and getattr(config, field)]:
        available = ("selfattn_lora", *(field for field in fields if field not in lacking))
        raise UnsupportedSite(architecture.model_type, asked[0], available)


def adapted_maps(config: LoRAConfig, base: BaseDescription) -> Iterator[AdaptedMap]:
    """Yield the maps that a configuration asks for, layer by layer."""
    for layer in base.layers:
        if layer.index in config.leave_out:
            continue
        if config.selfattn_lora and config.attn_matrices:
            yield from _attention_maps(config, base, layer)
        for field in get_args(LoRAField):
            path = layer.stack.lora_map(field)
            if getattr(config, field) and path is not None:
                yield _map(base, layer, path)


def _attention_maps(
    config: LoRAConfig, base: BaseDescription, layer: Layer
) -> Iterator[AdaptedMap]:
    for attention in layer.stack.attentions:
        if not attention.lora:
            continue
        if attention.fused is None:
            separate = {"q": attention.query, "k": attention.key, "v": attention.value}
            for matrix, projection in separate.items():
                if matrix in config.attn_matrices:
                    yield _map(base, layer, f"{attention.path}.{projection}")
            continue
        widths = base.fused_widths(layer, attention)
        wanted = [width for part, width in widths.items() if part in config.attn_matrices]
        path = f"{attention.path}.{attention.fused.path}"
        if wanted:
            yield AdaptedMap(
                key=_key(base, layer, path),
                inputs=base.linear(layer, path)[1],
                widths=tuple(wanted),
            )


def _map(base: BaseDescription, layer: Layer, path: str) -> AdaptedMap:
    outputs, inputs = base.linear(layer, path)
    return AdaptedMap(key=_key(base, layer, path), inputs=inputs, widths=(outputs,))


def _key(base: BaseDescription, layer: Layer, path: str) -> str:
    return f"{layer.saved_path}.{layer.stack.saved_as(base.resolve(layer, path))}"


def _module(config: LoRAConfig, adapted: AdaptedMap) -> Iterator[tuple[str, Shape]]:
    if config.is_ia3:
        yield "lora_B", (adapted.outputs, 1)
    elif config.is_vera:
        yield from _vera(config, adapted)
    else:
        yield "lora_A", (adapted.parts * config.r, adapted.inputs)
        yield from _up_projections(config, adapted)
    if config.use_dora:
        yield "m.weight", (adapted.outputs, 1)
    if config.use_gating:
        yield "gate.weight", (adapted.parts, adapted.inputs)
        yield "gate.bias", (adapted.parts,)


def _vera(config: LoRAConfig, adapted: AdaptedMap) -> Iterator[tuple[str, Shape]]:
    # AdapterHub keeps its learned vectors as the diagonals of matrices.
    rank = config.r * adapted.parts
    yield "vera_D", (rank, rank)
    yield "vera_B", (adapted.outputs, adapted.outputs)


def _up_projections(config: LoRAConfig, adapted: AdaptedMap) -> Iterator[tuple[str, Shape]]:
    if not isinstance(config, MTLLoRAConfig):
        yield "lora_B", (adapted.outputs, config.r)
        return
    diagonal = config.task_specific_matrix_type == "singular_values"
    rank = config.r * adapted.parts
    yield "lora_B", (config.n_up_projection, adapted.outputs, config.r)
    yield "task_specific.values", (rank,) if diagonal else (rank, config.r)
    yield "weights", (config.n_up_projection,)
