"""BART, PLBART, mBART and Whisper (checked on transformers 5.23.0).

BART and PLBART normalise after each addition, mBART and Whisper before each sub-block. All keep the
names of the modules.
"""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
    Role,
    SiteKey,
    StackRole,
)


def _site(
    key: SiteKey, out: str, enters: str, norm: str, saved_as: str, *, post: bool
) -> ResidualSite:
    """Describe a sub-block whose first module is `enters`, with the norm before or after it."""
    return ResidualSite(
        key=key,
        out=out,
        residual=(f"in:{enters}" if post else f"in:{norm}",),
        norm=norm if post else None,
        saved_as=saved_as,
    )


def _attention(path: str, role: Role) -> Attention:
    return Attention(
        path=path,
        role=role,
        query="q_proj",
        key="k_proj",
        value="v_proj",
        output=f"{path}.out_proj",
    )


def _stack(role: StackRole, *, post: bool) -> LayerStack:
    decoder = role == "decoder"
    own = _site(
        "mh_adapter",
        "self_attn",
        "self_attn",
        "self_attn_layer_norm",
        "attention_adapters",
        post=post,
    )
    cross = _site(
        "cross_adapter",
        "encoder_attn",
        "encoder_attn",
        "encoder_attn_layer_norm",
        "cross_attention_adapters",
        post=post,
    )
    ffn = _site("output_adapter", "fc2", "fc1", "final_layer_norm", "output_adapters", post=post)
    self_attention = _attention("self_attn", "self" if decoder else "encoder")
    cross_attention = _attention("encoder_attn", "cross")
    return LayerStack(
        path=f"{role}.layers",
        role=role,
        sites=(own, cross, ffn) if decoder else (own, ffn),
        attentions=(self_attention, cross_attention) if decoder else (self_attention,),
        ffn_in=("fc1",),
        ffn_out="fc2",
        lora_intermediate="fc1",
        lora_output="fc2",
    )


BART = Architecture(
    model_type="bart",
    prompts="inputs",
    inverts_at_static_head=False,
    base_prefix="model",
    stacks=(_stack("encoder", post=True), _stack("decoder", post=True)),
    embedding_output="encoder.layernorm_embedding",
    token_embedding="shared",  # noqa: S106  (a module)
    token_lookups=("encoder.embed_tokens", "decoder.embed_tokens"),
    invertible_saved_as="encoder.invertible_adapters",
    embedding_parameters=(
        "shared.",
        *(
            f"{stack}.{part}."
            for stack in ("encoder", "decoder")
            for part in ("embed_tokens", "embed_positions", "layernorm_embedding")
        ),
    ),
)
PLBART = replace(BART, model_type="plbart")
MBART = replace(
    BART,
    model_type="mbart",
    summary="end_or_first",
    stacks=(_stack("encoder", post=False), _stack("decoder", post=False)),
)

WHISPER = replace(
    MBART,
    model_type="whisper",
    prompts=None,
    summary="by_role",
    # AdapterHub's invertible adapters stand behind the whole encoder here.
    embedding_output="encoder.layer_norm",
    token_embedding="decoder.embed_tokens",  # noqa: S106  (a module)
    token_lookups=(),
    embedding_parameters=(
        "encoder.embed_positions.",
        "decoder.embed_tokens.",
        "decoder.embed_positions.",
    ),
)
