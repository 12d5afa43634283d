"""A configuration of the same model, small enough to run in a moment.

What says how large a model is becomes small; what says how it is built (norms, gates, parallel
sub-blocks, grouped keys) stays.
"""

from typing import Any, TypeVar

from transformers import PreTrainedConfig

C = TypeVar("C", bound=PreTrainedConfig)

HEADS, LAYERS, VOCABULARY = 4, 2, 64

_LIMITS = {
    HEADS: "num_attention_heads n_head n_heads num_heads attention_heads num_decoder_heads "
    "encoder_attention_heads decoder_attention_heads rotary_dim patch_size",
    LAYERS: "num_hidden_layers n_layer n_layers num_layers num_decoder_layers encoder_layers "
    "decoder_layers num_hidden_groups",
    # Half or a quarter of a head's channels may be rotated, in pairs.
    8: "head_dim d_kv attention_head_size image_size num_mel_bins max_source_positions",
    16: "embedding_size emb_size sliding_window",
    32: "hidden_size d_model n_embd dim embed_dim word_embed_proj_dim projection_dim "
    "input_embedding_size output_embedding_size max_position_embeddings n_positions n_ctx "
    "max_target_positions max_sequence_length seq_length",
    48: "intermediate_size ffn_hidden_size n_inner hidden_dim encoder_ffn_dim decoder_ffn_dim "
    "d_ff ffn_dim dim_feedforward shared_intermediate_size",
    VOCABULARY: "vocab_size decoder_vocab_size",
}
LIMITS = {name: limit for limit, names in _LIMITS.items() for name in names.split()}

_KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")


def shrink(config: C) -> C:
    """Return a small copy of a configuration; one that is small already comes back equal."""
    return type(config).from_dict(_small(config.to_dict()))


def _small(document: dict[str, Any]) -> dict[str, Any]:
    layers = {document.get(name) for name in LIMITS if LIMITS[name] == LAYERS}
    small = {
        key: _value(key, value, layers)
        for key, value in document.items()
        if key
        not in ("out_features", "out_indices", "stage_names")  # which layers a backbone shows
    }
    for name in _KEY_HEADS:
        if isinstance(document.get(name), int):
            small[name] = _key_heads(document[name], _number(document), _number(small))
    if isinstance(width := small.get("embedding_size"), int) and _as_wide(document):
        small["embedding_size"] = small.get("hidden_size", width)
    return small


def _as_wide(document: dict[str, Any]) -> bool:
    return bool(document["embedding_size"] == document.get("hidden_size"))


def _value(key: str, value: Any, layers: set[Any]) -> Any:
    if isinstance(value, dict):
        return _rope(value) if "rope_type" in value else _small(value)
    if isinstance(value, list) and len(value) in layers:
        return value[:LAYERS]  # one entry for each layer
    if str(key).endswith("token_id"):
        return _token(value)
    if type(value) is int and key in LIMITS:
        return min(value, LIMITS[key])
    return value


def _token(value: Any) -> Any:
    if isinstance(value, list):
        return [_token(item) for item in value]
    return min(value, VOCABULARY - 1) if isinstance(value, int) else value


def _rope(document: dict[str, Any]) -> dict[str, Any]:
    """Scaled rotations need a factor for each channel, and turn the same channels as plain ones."""
    kept = {k: v for k, v in document.items() if k in ("rope_theta", "partial_rotary_factor")}
    return {"rope_type": "default", **kept}


def _number(document: dict[str, Any]) -> int:
    return next((document[n] for n in _HEADS if isinstance(document.get(n), int)), HEADS)


def _key_heads(key_heads: int, heads: int, small: int) -> int:
    if key_heads == heads:
        return small
    return 2 if key_heads > 1 and small % 2 == 0 else 1
