"""Which linear maps make queries, keys and values: change one, and see which of these change."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from adapters_runtime.architectures import Attention, FusedProjection, Role
from adapters_runtime.derive.layers import TracedLayer, is_linear
from adapters_runtime.derive.tracing import Attended, attended_with, same
from adapters_runtime.inject.paths import out_features

Layout = Literal["concat", "per_head"]
PARTS = "qkv"


@dataclass(frozen=True)
class Probe:
    """A model, what it reads, and the attention calls of a pass in which nothing is changed."""

    model: nn.Module
    inputs: dict[str, Any]
    plain: Sequence[Attended]

    def changed(
        self, attention: nn.Module, linear: nn.Module, channels: Tensor | None = None
    ) -> str:
        """Return which of q, k and v an attention sees changed; `channels` are of the output."""
        calls = attended_with(self.model, self.inputs, linear, _disturbance(channels))
        before = next(call for call in self.plain if call.module is attention)
        after = next(call for call in calls if call.module is attention)
        pairs = zip(PARTS, before[2:], after[2:], strict=True)
        return "".join(part for part, a, b in pairs if not same(a, b))


def _disturbance(channels: Tensor | None) -> Callable[[Tensor], Tensor]:
    def disturb(output: Tensor) -> Tensor:
        other = 1.7 * output + 0.3
        return other if channels is None else torch.where(channels, other, output)

    return disturb


def describe_attention(
    layer: TracedLayer, call: Attended, role: Role, probe: Probe
) -> Attention | None:
    """Return the description of an attention; None if its projections are not found."""
    path = layer.path_of(call.module)
    output = next(iter(layer.linears(call.time, layer.leaves.time)), None)
    if output is None:
        return None
    changes = {
        name: probe.changed(call.module, module)
        for name, module in call.module.named_modules()
        if is_linear(module) and f"{path}.{name}" != output.path
    }
    maps = {change: name for name, change in changes.items()}  # the last map before each part
    if all(part in maps for part in PARTS):
        return Attention(
            path=path,
            role=role,
            query=maps["q"],
            key=maps["k"],
            value=maps["v"],
            output=output.path,
        )
    if PARTS not in maps:
        return None
    layout = _layout(call.module, call.module.get_submodule(maps[PARTS]), probe)
    if layout is None:
        return None
    fused = FusedProjection(path=maps[PARTS], layout=layout)
    return Attention(path=path, role=role, fused=fused, output=output.path)


def _layout(attention: nn.Module, linear: nn.Module, probe: Probe) -> Layout | None:
    """Return the order in which a fused map gives its parts; None if it is none we know."""
    for layout in get_args(Layout):
        if all(
            probe.changed(attention, linear, channels) == part
            for part, channels in _channels(attention, linear, layout)
        ):
            return layout  # type: ignore[no-any-return]
    return None


def _channels(
    attention: nn.Module, linear: nn.Module, layout: Layout
) -> Iterator[tuple[str, Tensor]]:
    """Yield each part and the mask of its channels, counted as the runtime places adapters."""
    config = attention.config.get_text_config()  # type: ignore[union-attr, operator]
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    width = out_features(linear) // (heads + 2 * key_heads)
    counts = torch.tensor([heads, key_heads, key_heads])
    owner = torch.arange(3).repeat_interleave(counts * width)
    if layout == "per_head":
        owner = torch.arange(3).repeat_interleave(width).repeat(heads)
    if len(owner) == out_features(linear):
        yield from ((part, owner == index) for index, part in enumerate(PARTS))
    else:
        yield PARTS[0], torch.zeros(out_features(linear), dtype=torch.bool)


def projection_gap(layer: TracedLayer, attention: Attention, probe: Probe, name: str) -> str | None:
    """Return what is wrong with an attention of a specification in one layer; None if nothing."""
    module = layer.module.get_submodule(attention.path)
    if not any(call.module is module for call in probe.plain):
        return f"{name} does not call the attention interface"
    for part, path in zip(PARTS, (attention.query, attention.key, attention.value), strict=True):
        if path is not None:
            changed = probe.changed(module, module.get_submodule(path))
            if changed != part:
                return f"{name}.{path} makes {changed or 'nothing'} and not {part}"
    if (fused := attention.fused) is None:
        key = next(call.key for call in probe.plain if call.module is module)
        if key.shape[1] * key.shape[3] != out_features(module.get_submodule(str(attention.key))):
            return f"{name}.{attention.key} gives keys of another width than attention reads"
        return None
    linear = module.get_submodule(fused.path)
    for part, channels in _channels(module, linear, fused.layout):
        changed = probe.changed(module, linear, channels)
        if changed != part:
            return f"{name}.{fused.path} has {changed or 'nothing'} where {part} should be"
    return None
