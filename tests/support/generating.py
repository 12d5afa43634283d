"""Tiny models that generate, and what they generate under adapters."""

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutputWithPast

import adapters_runtime
from tests.support.running import add_adapters, ids
from tests.support.tiny_models import FIELDS, PAIRS, pair_config

CACHE = next(
    k for k in ("cache", "past_key_values") if k in BaseModelOutputWithPast.__annotations__
)
"""What the installed transformers calls a cache."""
DECODED = {"do_sample": False, "max_new_tokens": 6, "min_new_tokens": 6}


def generator_of(model_type, attention="eager"):
    if model_type in PAIRS:
        config = pair_config(*PAIRS[model_type])
    else:
        config = transformers.AutoConfig.for_model(model_type, **FIELDS[model_type])
    config._attn_implementation = attention
    if model_type == "t5":  # transformers counts the layers of its cache in the encoder
        config.num_decoder_layers = config.num_layers
    kind = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    torch.manual_seed(0)
    model = kind.from_config(config, attn_implementation=attention).eval()
    # Random models of this size repeat one token; larger weights let the context decide.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    adapters_runtime.init(model)
    return model


def prompts(rows=2, length=5, seed=3):
    return ids(rows, length, torch.Generator().manual_seed(seed))


def generate(model, input_ids=None, **options):
    """Return the tokens and the scores behind them."""
    out = model.generate(
        prompts() if input_ids is None else input_ids,
        attention_mask=torch.ones_like(prompts() if input_ids is None else input_ids),
        output_logits=True,
        return_dict_in_generate=True,
        **{**DECODED, **options},
    )
    return out.sequences, torch.stack(out.logits, dim=1)


def with_adapters(model, config, names=("a", "b")):
    add_adapters(model, dict.fromkeys(names, config))
    return model
