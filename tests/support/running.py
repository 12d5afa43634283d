"""Inputs for tiny models, their outputs, and adapters that have an effect."""

import torch
from torch import nn

from tests.support.tiny_models import VOCABULARY


def inputs_for(model, rows=3, length=7, seed=0):
    """Return inputs that any model of our types takes, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    if config.model_type in {"vit", "deit", "beit", "clip_vision_model"}:
        size = config.image_size
        pixels = torch.randn(rows, config.num_channels, size, size, generator=generator)
        return {"pixel_values": pixels.to(model.dtype)}
    if config.model_type == "whisper":
        frames = 2 * config.max_source_positions
        features = torch.randn(rows, config.num_mel_bins, frames, generator=generator)
        features = features.to(model.dtype)
        return {"input_features": features, "decoder_input_ids": ids(rows, length, generator)}
    inputs = {"input_ids": ids(rows, length, generator)}
    if config.model_type == "clip":
        size = config.vision_config.image_size
        pixels = torch.randn(rows, 3, size, size, generator=generator)
        inputs["pixel_values"] = pixels.to(model.dtype)
    elif config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids(rows, length - 2, generator)
    return inputs


def ids(rows, length, generator):
    # Not the special tokens, whose positions some models look for.
    return torch.randint(4, VOCABULARY, (rows, length), generator=generator)


@torch.no_grad()
def output_of(model, inputs=None):
    """Return the tensor that leaves the last layer."""
    outputs = model.eval()(**(inputs or inputs_for(model)))
    return outputs["text_embeds"] if "text_embeds" in outputs else outputs[0]


def randomise(module: nn.Module, seed=0):
    """Give an adapter an effect, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def randomise_adapter(model, name, seed=0):
    from adapters_runtime.inject.bank import bank_of  # noqa: PLC0415  (tests without torch parts)

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in bank_of(model).parameters_of(name):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def add_adapters(model, configs):
    """Add adapters by their names, each with an effect of its own."""
    for seed, (name, config) in enumerate(configs.items()):
        model.add_adapter(name, config)
        randomise_adapter(model, name, seed=seed)
