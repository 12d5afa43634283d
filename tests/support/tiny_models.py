"""Random models of every specified type, small enough to build by the dozen."""

import functools
from typing import Any

import torch
import transformers

WIDTH, HEADS, LAYERS, VOCABULARY = 16, 4, 2, 32

_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ENCODER_DECODER = {
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "decoder_layers": 3,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": WIDTH,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": LAYERS,
    "num_decoder_layers": 3,
    "num_heads": HEADS,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
_GPT = {
    "vocab_size": VOCABULARY,
    "n_embd": WIDTH,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_inner": 24,
    "n_positions": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_IMAGE = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 24,
    "image_size": 8,
    "patch_size": 4,
}
_GROUPED = {**_TEXT, "num_key_value_heads": 2, "head_dim": WIDTH // HEADS}

FIELDS: dict[str, dict[str, Any]] = {
    "albert": {**_TEXT, "embedding_size": 8, "num_hidden_groups": 2, "inner_group_num": 1},
    "bart": _ENCODER_DECODER,
    "mbart": _ENCODER_DECODER,
    "plbart": _ENCODER_DECODER,
    "whisper": {
        **_ENCODER_DECODER,
        "num_mel_bins": 8,
        "max_source_positions": 8,
        "max_target_positions": 32,
    },
    "bert": _TEXT,
    "bert-generation": _TEXT,
    "camembert": _TEXT,
    "electra": {**_TEXT, "embedding_size": 8},
    "roberta": _TEXT,
    "xlm-roberta": _TEXT,
    "xmod": {**_TEXT, "languages": ["en_XX", "de_DE"], "default_language": "en_XX"},
    "clip_text_model": {**_TEXT, "projection_dim": WIDTH},
    "clip_vision_model": {**_IMAGE, "projection_dim": WIDTH},
    "clip": {
        "text_config": {**_TEXT, "hidden_size": 32},
        "vision_config": _IMAGE,
        "projection_dim": WIDTH,
    },
    "deberta": {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {**_TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "distilbert": {
        "vocab_size": VOCABULARY,
        "dim": WIDTH,
        "n_layers": LAYERS,
        "n_heads": HEADS,
        "hidden_dim": 24,
        "max_position_embeddings": 32,
    },
    "gpt2": _GPT,
    "gptj": {**_GPT, "rotary_dim": 4},
    "gpt_neox": _TEXT,
    "gemma2": _GROUPED,
    "gemma3_text": _GROUPED,
    "llama": _GROUPED,
    "mistral": _GROUPED,
    "phi": _TEXT,
    "phi3": {**_TEXT, "num_key_value_heads": 2},
    "qwen2": _GROUPED,
    "qwen3": _GROUPED,
    "modernbert": {**_TEXT, "cls_token_id": 1, "sep_token_id": 2},
    "mpnet": _TEXT,
    "t5": _T5,
    "mt5": {**_T5, "feed_forward_proj": "gated-gelu"},
    "beit": {**_IMAGE, "drop_path_rate": 0.1},
    "deit": _IMAGE,
    "vit": _IMAGE,
}

CROSS_ATTENDING = (
    "bert",
    "bert-generation",
    "camembert",
    "electra",
    "roberta",
    "xlm-roberta",
    "xmod",
)
"""Types whose models may be decoders that read the states of an encoder."""
AS_DECODER = {"is_decoder": True, "add_cross_attention": True}


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bert+bert": (
        {"model_type": "bert", **_TEXT},
        {"model_type": "bert", **_TEXT, "num_hidden_layers": 3},
    ),
    "bert+gpt2": (
        {"model_type": "bert", **_TEXT},
        {"model_type": "gpt2", **_GPT, "n_embd": 24, "n_layer": 3, "n_head": 2},
    ),
}
"""Encoders joined to decoders, which may differ in all their sizes."""


@functools.cache
def build_tiny(name: str) -> transformers.PreTrainedModel:
    """Return a model of a type without a head, or a pair.

    It is the same one to every caller, so leave it as it is.
    """
    torch.manual_seed(0)
    if name in PAIRS:
        return transformers.EncoderDecoderModel(pair_config(*PAIRS[name])).eval()
    config = transformers.AutoConfig.for_model(name, **FIELDS[name])
    return transformers.AutoModel.from_config(config).eval()


def pair_config(encoder: dict[str, Any], decoder: dict[str, Any]) -> Any:
    """Return the configuration of a pair; that of the decoder becomes a decoder's."""
    return transformers.EncoderDecoderConfig(
        encoder=encoder,
        decoder=decoder | AS_DECODER,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
