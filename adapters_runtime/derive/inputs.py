"""Something to read for a small model of any kind."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

ROWS, LENGTH, WRITTEN = 3, 7, 5
"""Rows of a batch, tokens of a text, and tokens of what a decoder writes about it."""


def example_inputs(model: nn.Module, config: PreTrainedConfig) -> dict[str, Any]:
    """Return inputs by name, of the kinds that the model's forward takes."""
    taken = inspect.signature(model.forward).parameters
    text = config.get_text_config()
    inputs: dict[str, Any] = {}
    if "input_ids" in taken:
        inputs["input_ids"] = _ids(text, LENGTH)
    if "decoder_input_ids" in taken and config.is_encoder_decoder:
        inputs["decoder_input_ids"] = _ids(text, WRITTEN)
    if "pixel_values" in taken:
        inputs["pixel_values"] = _image(config)
    if "input_features" in taken:
        inputs["input_features"] = _recording(config)
    if getattr(config, "add_cross_attention", False):
        inputs["encoder_hidden_states"] = torch.randn(
            ROWS, WRITTEN, config.hidden_size, dtype=torch.float64
        )
    if "use_cache" in taken:
        inputs["use_cache"] = False
    return inputs


def with_another_end(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs with another last token, or another last piece of an image or recording."""
    return {name: _another_end(value) for name, value in inputs.items()}


def _another_end(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    changed = value.clone()
    if value.is_floating_point():
        changed[..., -1:] += 1
    else:
        changed[:, -1] = 4 + (value[:, -1] - 3) % 8
    return changed


def _ids(config: Any, length: int) -> Tensor:
    # The lowest ids are special tokens, whose places some models look for.
    return torch.randint(4, config.vocab_size - 1, (ROWS, length))


def _image(config: Any) -> Tensor:
    vision = getattr(config, "vision_config", config)
    size = vision.image_size if isinstance(vision.image_size, int) else vision.image_size[0]
    return torch.randn(ROWS, getattr(vision, "num_channels", 3), size, size, dtype=torch.float64)


def _recording(config: Any) -> Tensor:
    frames = 2 * config.max_source_positions
    return torch.randn(ROWS, config.num_mel_bins, frames, dtype=torch.float64)
