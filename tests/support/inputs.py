"""Inputs for tiny models of every kind: texts, images, recordings."""

from typing import Any

import torch

from tests.support.tiny_models import VOCABULARY

_IMAGES = frozenset({"beit", "clip_vision_model", "deit", "vit"})


def batch(model_type: str, rows: int = 3, length: int = 6, seed: int = 0) -> dict[str, Any]:
    """Return what a model of this type reads; a text ends with an end token."""
    generator = torch.Generator().manual_seed(seed)
    if model_type in _IMAGES:
        return {"pixel_values": torch.randn(rows, 3, 8, 8, generator=generator)}
    if model_type == "whisper":
        return {"input_features": torch.randn(rows, 8, 16, generator=generator)}
    ids = torch.randint(3, VOCABULARY, (rows, length), generator=generator)
    ids[:, -1] = 1 if model_type in ("t5", "mt5") else 2
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
