"""LLaMA, and the decoders that kept the names of its modules (checked on transformers 5.23.0)."""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    FusedProjection,
    LayerStack,
    ResidualSite,
)

LAYERS = LayerStack(
    path="layers",
    role="decoder",
    sites=(
        ResidualSite(
            key="mh_adapter",
            out="self_attn",
            residual=("in:input_layernorm",),
            saved_as="attention_adapters",
        ),
        ResidualSite(
            key="output_adapter",
            out="mlp",
            residual=("in:post_attention_layernorm",),
            saved_as="output_adapters",
        ),
    ),
    attentions=(
        Attention(
            path="self_attn",
            query="q_proj",
            key="k_proj",
            value="v_proj",
            output="self_attn.o_proj",
        ),
    ),
    ffn_in=("mlp.gate_proj", "mlp.up_proj"),
    ffn_out="mlp.down_proj",
    lora_intermediate="mlp.up_proj",
    lora_output="mlp.down_proj",
)

QWEN2 = Architecture(
    model_type="qwen2",
    base_prefix="model",
    stacks=(LAYERS,),
    embedding_output="embed_tokens",
    token_embedding="embed_tokens",  # noqa: S106  (a module)
    embedding_parameters=("embed_tokens.",),
    prompts="inputs",
    ties_output=False,
)
QWEN3 = replace(QWEN2, model_type="qwen3")

# AdapterHub's library has the two places of LoRA the wrong way round here; weights exist.
LLAMA = replace(
    QWEN2,
    model_type="llama",
    inverts_at_static_head=False,
    stacks=(replace(LAYERS, lora_intermediate="mlp.down_proj", lora_output="mlp.up_proj"),),
)
MISTRAL = replace(LLAMA, model_type="mistral")

PHI3 = replace(
    QWEN2,
    model_type="phi3",
    stacks=(
        replace(
            LAYERS,
            sites=(
                replace(LAYERS.sites[0], out="resid_attn_dropout"),
                replace(LAYERS.sites[1], out="resid_mlp_dropout"),
            ),
            attentions=(
                Attention(
                    path="self_attn",
                    fused=FusedProjection(path="qkv_proj"),
                    output="self_attn.o_proj",
                ),
            ),
            ffn_in=("mlp.gate_up_proj",),
            lora_intermediate="mlp.gate_up_proj",
        ),
    ),
)

# Gemma normalises what a sub-block gives before it adds it to the stream.
GEMMA2 = replace(
    QWEN2,
    model_type="gemma2",
    ties_output=True,
    inverts_unscaled=True,
    stacks=(
        replace(
            LAYERS,
            sites=(
                replace(LAYERS.sites[0], norm="post_attention_layernorm", sandwich=True),
                replace(
                    LAYERS.sites[1],
                    residual=("in:pre_feedforward_layernorm",),
                    norm="post_feedforward_layernorm",
                    sandwich=True,
                ),
            ),
        ),
    ),
)
GEMMA3_TEXT = replace(GEMMA2, model_type="gemma3_text", inverts_unscaled=False)
