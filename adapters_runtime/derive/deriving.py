"""A specification for a model of any type, from one forward pass of a small copy."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from adapters_runtime.architectures import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
    Role,
)
from adapters_runtime.architectures.spec import SiteKey, StackRole
from adapters_runtime.configs import AdapterMethod, EmbeddingRowsConfig
from adapters_runtime.derive import surroundings
from adapters_runtime.derive.certificate import Certificate, certify
from adapters_runtime.derive.entrances import admits_prefixes, with_entrance
from adapters_runtime.derive.inputs import example_inputs, with_another_end
from adapters_runtime.derive.layers import TracedLayer, flattened, traced_stacks
from adapters_runtime.derive.matching import Block, find_blocks
from adapters_runtime.derive.projections import Probe, describe_attention
from adapters_runtime.derive.shrinking import shrink
from adapters_runtime.derive.tracing import Attended, Trace, record
from adapters_runtime.inject.paths import in_features, out_features, token_embedding

SAVED_AS: dict[SiteKey, str] = {
    "mh_adapter": "attention_adapters",
    "cross_adapter": "cross_attention_adapters",
    "output_adapter": "output_adapters",
}
"""As AdapterHub's files name what an interface describes."""

METHODS = (
    AdapterMethod.bottleneck,
    AdapterMethod.lora,
    "ia3",
    AdapterMethod.prefix_tuning,
    AdapterMethod.reft,
    AdapterMethod.invertible,
    str(EmbeddingRowsConfig.architecture),
)
"""All kinds but prompts, which every model takes in its own way."""


@dataclass(frozen=True)
class Derivation:
    """What was found; without a closed certificate it must not be used."""

    architecture: Architecture | None
    certificate: Certificate


class Incomplete(Exception):
    """Something that a specification needs was not found."""


@dataclass(frozen=True)
class Specimen:
    """A small random model in float64, and recorded passes of it."""

    model: nn.Module
    config: PreTrainedConfig
    trace: Trace
    changed: Trace
    """A pass in which the last token is another."""
    probe: Probe


def make_specimen(base_class: type[Any], config: PreTrainedConfig) -> Specimen:
    """Build a small model of a configuration's kind and run it; the caller's dice stay."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = shrink(deepcopy(config))
        model = base_class._from_config(  # noqa: SLF001  (public in name only for Auto classes)
            small, attn_implementation="eager", experts_implementation="eager"
        )
        model = model.to(torch.float64).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                # Fresh norms, gates and biases are ones and zeros: they would hide what they do.
                parameter.add_(0.2 * torch.randn_like(parameter))
        inputs = example_inputs(model, model.config)
        trace = record(model, inputs)
        changed = record(model, with_another_end(inputs))
    probe = Probe(model, inputs, trace.attended, changed.attended)
    return Specimen(model, model.config, trace, changed, probe)


def derive(base_class: type[Any], config: PreTrainedConfig) -> Derivation:
    """Return the specification of a base class of transformers, for models of a configuration.

    Only a small random copy is built and run, whatever the size of the model. Raises what the
    model raises where it cannot be built small, or reads something else than texts and images.
    """
    specimen = make_specimen(base_class, config)
    try:
        architecture = describe(specimen)
    except Incomplete as gap:
        return Derivation(None, Certificate((), (str(gap),)))
    return Derivation(architecture, certify(architecture, specimen.trace, specimen.probe))


def describe(specimen: Specimen) -> Architecture:
    """Put the specification together; raises Incomplete."""
    stacks = traced_stacks(specimen.model, specimen.trace)
    if not stacks:
        raise Incomplete("no list of equal layers with linear maps carries a stream")
    model: Any = specimen.model
    token = token_embedding(model)
    lookups = surroundings.token_lookups(
        None if token is None else model.get_submodule(token), specimen.trace
    )
    first = min((layers[0] for layers in stacks.values()), key=lambda layer: layer.enters.time)
    stream = surroundings.embedding_output(first, lookups)
    if stream is None:
        raise Incomplete(f"no module gives what enters {first.path}")
    described = tuple(_stack(path, layers, specimen) for path, layers in stacks.items())
    return Architecture(
        model_type=specimen.config.model_type,
        base_prefix=model.base_model_prefix,
        stacks=described,
        embedding_output=stream,
        token_embedding=token,
        token_lookups=() if lookups == [token] else tuple(lookups),
        embedding_parameters=tuple(surroundings.embedding_prefixes(model, stacks.values())),
        pooler_parameters=tuple(surroundings.pooler_prefixes(model, specimen.trace)),
        ties_output=bool(getattr(specimen.config, "tie_word_embeddings", True)),
        prompts=None,
        methods=_methods(described, stacks, specimen.probe),
    )


def _methods(
    described: Sequence[LayerStack],
    stacks: Mapping[str, Sequence[TracedLayer]],
    probe: Probe,
) -> tuple[str, ...]:
    """Return the kinds that can stand everywhere they are meant to."""
    enter = all(
        admits_prefixes(stacks[stack.path][0], attention, probe)
        for stack in described
        for attention in stack.attentions
    )
    return METHODS if enter else tuple(m for m in METHODS if m != AdapterMethod.prefix_tuning)


def _stack(path: str, layers: Sequence[TracedLayer], specimen: Specimen) -> LayerStack:
    layer = layers[0]
    blocks = find_blocks(layer)
    if not blocks:
        raise Incomplete(f"no sums r + h of tensors inside {layer.path} make up what it gives")
    role = _role(layers, specimen)
    maps = _feed_forward(layer, blocks)
    found = LayerStack(
        path=path,
        role=role,
        sites=tuple(_sites(layer, blocks)),
        attentions=tuple(_attentions(layer, role, specimen)),
        ffn_in=maps[:-1],
        ffn_out=maps[-1] if maps else None,
        lora_intermediate=maps[-2] if maps else None,
        lora_output=maps[-1] if maps else None,
        attention="softmax" if any(call.written for call in layer.attended) else "interface",
        conv1d=any(type(module).__name__ == "Conv1D" for module in layer.module.modules()),
    )
    return replace(found, flattens=bool(flattened(layer, found)))


def _role(layers: Sequence[TracedLayer], specimen: Specimen) -> StackRole:
    if any(_is_cross(call) for call in layers[0].attended):
        return "decoder"
    causal = surroundings.is_causal(specimen.changed, layers)
    return "decoder" if causal and not specimen.config.is_encoder_decoder else "encoder"


def _is_cross(call: Attended) -> bool:
    """Keys come from another text than queries: those of our inputs differ in length."""
    return call.query.shape[2] != call.key.shape[2]


def _windows(layer: TracedLayer, blocks: Sequence[Block]) -> Iterator[tuple[Block, int, int]]:
    """Yield each sub-block with the times between which it runs."""
    start = layer.enters.time
    for block in blocks:
        yield block, start, block.out.time
        start = block.out.time


def _sites(layer: TracedLayer, blocks: Sequence[Block]) -> Iterator[ResidualSite]:
    for block, start, end in _windows(layer, blocks):
        key = _key([call for call in layer.attended if start < call.time < end])
        yield ResidualSite(
            key=key,
            out=block.out.path,
            residual=block.residual,
            norm=block.norm,
            sandwich=block.sandwich,
            saved_as=SAVED_AS[key],
        )


def _key(attended: Sequence[Attended]) -> SiteKey:
    if not attended:
        return "output_adapter"
    return "cross_adapter" if any(map(_is_cross, attended)) else "mh_adapter"


def _attentions(layer: TracedLayer, role: StackRole, specimen: Specimen) -> Iterator[Attention]:
    if not layer.attended:
        raise Incomplete(
            f"{layer.path} computes no attention by transformers' interface, and none by a softmax "
            "between products"
        )
    first: dict[nn.Module, Attended] = {}
    for call in layer.attended:  # a module that attends twice has one set of maps
        first.setdefault(call.module, call)
    for call in first.values():
        found = describe_attention(
            layer, call, _attention_role(call, role, specimen), specimen.probe
        )
        if found is None:
            name = layer.path_of(call.module)
            raise Incomplete(f"no linear maps make query, key and value of {layer.path}.{name}")
        yield with_entrance(layer, found, specimen.probe)


def _attention_role(call: Attended, role: StackRole, specimen: Specimen) -> Role:
    if _is_cross(call):
        return "cross"
    return "encoder" if role == "encoder" and specimen.config.is_encoder_decoder else "self"


def _feed_forward(layer: TracedLayer, blocks: Sequence[Block]) -> tuple[str, ...]:
    """Return the maps into the feed-forward width, and the one back, as they are called.

    Nothing where a block has others as well: experts, of which each token has its own.
    """
    width = layer.stream.shape[-1]
    for _block, start, end in _windows(layer, blocks):
        if any(start < call.time < end for call in layer.attended):
            continue
        linears = layer.linears(start, end)
        if len(linears) > 1 and _lead_there_and_back([e.module for e in linears], width):
            return tuple(e.path for e in linears)
    return ()


def _lead_there_and_back(maps: Sequence[nn.Module], width: int) -> bool:
    """Return whether all maps but the last lead from a width to that from which the last leads."""
    *into, out = maps
    inner = in_features(out)
    return out_features(out) == width and all(
        in_features(each) == width and out_features(each) % inner == 0 for each in into
    )
