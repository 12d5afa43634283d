"""Which linear maps make queries, keys and values: change one, and see which of these change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from adapters_runtime.architectures import Attention, FusedProjection, Role
from adapters_runtime.derive.layers import TracedLayer
from adapters_runtime.derive.linear_maps import is_linear
from adapters_runtime.derive.tracing import Attended, attended_with, same
from adapters_runtime.inject.paths import out_features
from adapters_runtime.inject.placed import config_at, fused_widths, groups_of

Layout = Literal["concat", "per_head"]
PARTS = "qkv"


@dataclass(frozen=True)
class Probe:
    """A model, what it reads, and the attention calls of a pass in which nothing is changed."""

    model: nn.Module
    inputs: dict[str, Any]
    plain: Sequence[Attended]
    other: Sequence[Attended] = ()
    """Those of a pass in which what is read differs in its end."""

    def changed(
        self, attention: nn.Module, linear: nn.Module, channels: Tensor | None = None
    ) -> str:
        """Return which of q, k and v an attention sees changed; `channels` are of the output."""
        calls = attended_with(self.model, self.inputs, linear, _disturbance(channels))
        before = next(call for call in self.plain if call.module is attention)
        after = next((call for call in calls if call.module is attention), None)
        if after is None:
            return "nothing that can be seen"
        pairs = zip(PARTS, before.parts, after.parts, strict=True)
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
    whole = Attention(path=path, role=role, output=output.path)
    fused = _layout(layer, whole, maps[PARTS], probe)
    return None if fused is None else replace(whole, fused=fused)


def _layout(
    layer: TracedLayer, attention: Attention, path: str, probe: Probe
) -> FusedProjection | None:
    """Return a fused map with the order in which it gives its parts; None if it is none we know."""
    for layout in get_args(Layout):
        fused = FusedProjection(path=path, layout=layout)
        if _fused_gap(layer, replace(attention, fused=fused), probe, path) is None:
            return fused
    return None


def _fused_gap(layer: TracedLayer, attention: Attention, probe: Probe, name: str) -> str | None:
    assert attention.fused is not None
    module = layer.module.get_submodule(attention.path)
    linear = module.get_submodule(attention.fused.path)
    owners = _owners(layer, attention, probe.model)
    if owners is None:
        return f"{name} gives features that heads do not share evenly"
    for index, part in enumerate(attention.fused.parts):
        changed = probe.changed(module, linear, owners == index)
        if changed != part:
            return f"{name} has {changed or 'nothing'} where {part} should be"
    return None


def _owners(layer: TracedLayer, attention: Attention, model: nn.Module) -> Tensor | None:
    """Return the part that each channel of a fused map belongs to, as the runtime counts them."""
    assert attention.fused is not None
    config = config_at(model, layer.path)
    widths = fused_widths(layer.module, attention, config)
    if widths is None:
        return None
    groups = groups_of(attention.fused, widths, config.num_attention_heads)
    counts = torch.tensor(list(widths.values())) // groups
    return torch.arange(len(counts)).repeat_interleave(counts).repeat(groups)


def projection_gap(layer: TracedLayer, attention: Attention, probe: Probe, name: str) -> str | None:
    """Return what is wrong with an attention of a specification in one layer; None if nothing."""
    module = layer.module.get_submodule(attention.path)
    call = next((call for call in probe.plain if call.module is module), None)
    if call is None:
        return f"{name} does not call the attention interface, and is not seen to attend"
    for part, path in zip(PARTS, (attention.query, attention.key, attention.value), strict=True):
        if path is not None:
            changed = probe.changed(module, module.get_submodule(path))
            if changed != part:
                return f"{name}.{path} makes {changed or 'nothing'} and not {part}"
    if attention.fused is not None:
        return _fused_gap(layer, attention, probe, f"{name}.{attention.fused.path}")
    if call.key.shape[1] * call.key.shape[3] != out_features(
        module.get_submodule(str(attention.key))
    ):
        return f"{name}.{attention.key} gives keys of another width than attention reads"
    return None
