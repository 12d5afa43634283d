"""Whether a specification places adapters where the model adds, looks up and attends.

The test knows nothing of how a specification was found: it plays the runtime's part in a recorded
pass. At each site r is taken where `residual` says and h where `out` says, and what the site should
leave (r + h, normed where the site has a norm) must be what the next site, and in the end the rest
of the model, goes on with.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapters_runtime.architectures import (
    Architecture,
    LayerStack,
    ResidualSite,
    fitted,
    list_layers,
)
from adapters_runtime.configs import AdapterMethod
from adapters_runtime.derive.entrances import entrance_gap
from adapters_runtime.derive.layers import TracedLayer, flattened, trace_layer
from adapters_runtime.derive.projections import Probe, projection_gap
from adapters_runtime.derive.tracing import Event, Trace, same
from adapters_runtime.inject.paths import in_features, out_features, path_within


@dataclass(frozen=True)
class StackCertificate:
    path: str
    gaps: tuple[str, ...]
    """What the specification does not explain, in sentences."""

    @property
    def closed(self) -> bool:
        """Whether the adds found reproduce what every layer gives, to 1e-9 in float64."""
        return not self.gaps


@dataclass(frozen=True)
class Certificate:
    stacks: tuple[StackCertificate, ...]
    missing: tuple[str, ...] = ()
    """What was not found at all."""

    @property
    def closed(self) -> bool:
        return bool(self.stacks) and not self.gaps

    @property
    def gaps(self) -> tuple[str, ...]:
        return (*self.missing, *(gap for stack in self.stacks for gap in stack.gaps))


def certify(architecture: Architecture, trace: Trace, probe: Probe) -> Certificate:
    """Hold a specification against a recorded pass of a model in float64."""
    names = [name for name, _ in probe.model.named_parameters()]
    architecture = fitted(architecture, names)
    layers = list_layers(architecture, names)
    return Certificate(
        tuple(
            StackCertificate(
                stack.path,
                tuple(
                    gap
                    for layer in layers
                    if layer.stack is stack
                    for gap in _gaps(architecture, stack, layer.path, trace, probe)
                ),
            )
            for stack in architecture.stacks
        )
    )


def _gaps(
    architecture: Architecture, stack: LayerStack, path: str, trace: Trace, probe: Probe
) -> Iterator[str]:
    layer = trace_layer(trace, path, probe.model.get_submodule(path))
    if layer is None:
        yield f"{path} takes no stream that it gives back in the same shape"
        return
    yield from _residual_gaps(layer, stack)
    if stack.ffn_out is not None:
        yield from _feed_forward_gaps(layer, stack, stack.ffn_out)
    flat = flattened(layer, stack)
    if bool(flat) != stack.flattens:
        yield f"{path}: {', '.join(flat) or 'nothing'} reads the tokens of a batch as one list"
    prefixed = architecture.allows(AdapterMethod.prefix_tuning)
    for attention in stack.attentions:
        name = f"{path}.{attention.path}"
        gap = projection_gap(layer, attention, probe, name)
        if gap is None and stack.attention == "softmax":
            gap = entrance_gap(layer, attention, probe, name) if prefixed else None
        if gap is not None:
            yield gap


def _residual_gaps(layer: TracedLayer, stack: LayerStack) -> Iterator[str]:
    stream = layer.stream
    before = "the input of the layer"
    for site in stack.sites:
        name = f"{layer.path}: {site.key}"
        passes = list(_passes(layer, site))
        if len(passes) != 1:
            yield f"{name}: {site.out} meets its residual stream {len(passes)} times, not once"
            return
        r, h = passes[0]
        if r.shape != h.shape:
            yield f"{name}: {site.out} gives {list(h.shape)}, and its stream is {list(r.shape)}"
            return
        if not same(r, stream):
            yield f"{name}: {' + '.join(site.residual)} is not {before}"
            return
        stream = _completed(layer, site, r, h)
        before = f"what {site.key} leaves"
    if not same(stream, layer.output):
        yield f"{layer.path} gives something else than {before}"


def _passes(layer: TracedLayer, site: ResidualSite) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (r, h) for each time the runtime would adapt at this site.

    It does when `out` gives a result after all residual streams were seen, and forgets them then.
    """
    seen: dict[str, Tensor] = {}
    for event in layer.events:
        if event.after and event.path == site.out and len(seen) == len(site.residual):
            yield torch.stack(list(seen.values())).sum(0), event.tensor
            seen.clear()
        name = f"{'out' if event.after else 'in'}:{event.path}"
        if name in site.residual:
            seen[name] = event.tensor


@torch.no_grad()
def _completed(layer: TracedLayer, site: ResidualSite, r: Tensor, h: Tensor) -> Tensor:
    if site.norm is None:
        return r + h
    norm = layer.module.get_submodule(site.norm)
    return r + norm.forward(h) if site.sandwich else norm.forward(r + h)  # type: ignore[no-any-return]


def _feed_forward_gaps(layer: TracedLayer, stack: LayerStack, output: str) -> Iterator[str]:
    """The maps of the feed-forward block are called in their order, and their widths fit."""
    width = layer.stream.shape[-1]
    called: dict[nn.Module, Event] = {e.module: e for e in layer.outputs}
    out = layer.module.get_submodule(output)
    for path in stack.ffn_in:
        module = layer.module.get_submodule(path_within(layer.module, path))
        if in_features(module) != width or module not in called:
            yield f"{layer.path}.{path} does not read the stream"
        elif out not in called or called[module].time > called[out].time:
            yield f"{layer.path}.{path} is not called before {output}"
    if out_features(out) != width:
        yield f"{layer.path}.{output} does not give the stream's width"
