"""Prefix tuning and prompt tuning as PEFT keeps them: plain keys and values, or embeddings."""

import torch
from torch import Tensor

from adapters_runtime.configs import (
    AdapterConfig,
    PeftPrefixConfig,
    PeftPromptConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
)
from adapters_runtime.inject.prefix_point import PrefixPool
from adapters_runtime.inject.prompt_point import PromptPoint
from adapters_runtime.io.peft.checkpoint import ROOTS
from adapters_runtime.io.peft.soft_prompts import (
    EMBEDDINGS,
    decoder_order,
    own_prefixes,
    reordered,
)
from adapters_runtime.io.peft.written import Source, Written
from adapters_runtime.methods.prompt_tuning import PromptTuning


def write_prefix(source: Source, config: PrefixTuningConfig) -> Written:
    """Return keys and values, (length, layers · 2 · key width), of what an MLP gives, if any."""
    if not isinstance(config, PeftPrefixConfig):
        raise source.refusal(
            "PEFT's prefixes take positions of the text and AdapterHub's do not, so that its "
            "outputs would differ; train a PeftPrefixConfig instead"
        )
    path, location = own_prefixes(source.bank.architecture)
    pool = next(pool for pool in source.bank.of_type(PrefixPool) if pool.path == path)
    prefixes = pool.prefixes(source.name, location)
    if config.use_gating or config.leave_out or [location] != list(pool.adapters[source.name]):  # type: ignore[call-overload]
        raise source.refusal("PEFT's prefixes have no gates, and stand in every layer")
    values = prefixes.of_all_layers().detach()
    if len(source.bank.architecture.stacks) > 1:
        values = _as_saved(source, values, prefixes.layers)
    fields = {
        "peft_type": "PREFIX_TUNING",
        "num_layers": prefixes.layers,
        "num_virtual_tokens": prefixes.length,
        "prefix_projection": False,
    }
    return Written(fields, {EMBEDDINGS: values}, root=ROOTS[1])


def write_prompt(source: Source, config: AdapterConfig) -> Written:
    """Return the prompt, (length, width)."""
    inputs = source.bank.architecture.prompts == "inputs"
    plain = isinstance(config, PromptTuningConfig) and inputs and config.combine == "prefix"
    if not isinstance(config, PeftPromptConfig) and not plain:
        raise source.refusal(
            "PEFT's prompts stand before the text and take part in all that is done to it, and "
            "this one does not; train a PeftPromptConfig instead"
        )
    held = [
        point.adapters[source.name]
        for point in source.bank.of_type(PromptPoint)
        if source.name in point.adapters
    ]
    (prompt,) = held
    assert isinstance(prompt, PromptTuning)
    fields = {
        "peft_type": "PROMPT_TUNING",
        # Of an encoder-decoder, the encoder.
        "num_transformer_submodules": 1,
        "num_virtual_tokens": len(prompt.prompt),
    }
    return Written(fields, {EMBEDDINGS: prompt.prompt}, root=ROOTS[1])


def _as_saved(source: Source, values: Tensor, layers: int) -> Tensor:
    """Return a file's prefixes from which PEFT's decoder takes these; see `decoder_order`."""
    order = decoder_order(layers)
    saved = values.clone().unflatten(1, (layers, -1))
    saved[:, order] = values.unflatten(1, (layers, -1))
    flat: Tensor = saved.flatten(1)
    if not torch.equal(reordered(flat, order), values):
        raise source.refusal(
            f"of {layers} layers PEFT gives two and two of a decoder the same prefixes, and here "
            "they differ"
        )
    return flat
