"""GPT-J, GPT-NeoX and Phi (checked on transformers 5.24.0): attention beside feed-forward.

Both sub-blocks read the same norm of the layer's input, and their outputs are added to it together.
The feed-forward block's bottleneck therefore sees the input plus what attention gives.
"""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    FusedProjection,
    LayerStack,
    ResidualSite,
)

GPTJ = Architecture(
    model_type="gptj",
    ties_output=False,
    inverts_at_static_head=False,
    base_prefix="transformer",
    stacks=(
        LayerStack(
            path="h",
            role="decoder",
            sites=(
                ResidualSite(
                    key="mh_adapter",
                    out="attn",
                    residual=("in:ln_1",),
                    saved_as="attention_adapters",
                ),
                ResidualSite(
                    key="output_adapter",
                    out="mlp",
                    residual=("in:ln_1", "out:attn"),
                    saved_as="output_adapters",
                ),
            ),
            attentions=(
                Attention(
                    path="attn",
                    query="q_proj",
                    key="k_proj",
                    value="v_proj",
                    output="attn.out_proj",
                ),
            ),
            ffn_in=("mlp.fc_in",),
            ffn_out="mlp.fc_out",
            lora_intermediate="mlp.fc_in",
            lora_output="mlp.fc_out",
        ),
    ),
    embedding_output="drop",
    token_embedding="wte",  # noqa: S106  (a module)
    embedding_parameters=("wte.",),
    prompts="inputs",
)

GPT_NEOX = Architecture(
    model_type="gpt_neox",
    ties_output=False,
    base_prefix="gpt_neox",
    stacks=(
        LayerStack(
            path="layers",
            role="decoder",
            sites=(
                ResidualSite(
                    key="mh_adapter",
                    out="post_attention_dropout",
                    residual=("in:input_layernorm",),
                    saved_as="attention_adapters",
                ),
                ResidualSite(
                    key="output_adapter",
                    out="post_mlp_dropout",
                    residual=("in:input_layernorm", "out:post_attention_dropout"),
                    saved_as="output_adapters",
                ),
            ),
            attentions=(
                Attention(
                    path="attention",
                    fused=FusedProjection(path="query_key_value", layout="per_head"),
                    output="attention.dense",
                ),
            ),
            ffn_in=("mlp.dense_h_to_4h",),
            ffn_out="mlp.dense_4h_to_h",
            lora_intermediate="mlp.dense_h_to_4h",
            lora_output="mlp.dense_4h_to_h",
        ),
    ),
    embedding_output="emb_dropout",
    token_embedding="embed_in",  # noqa: S106  (a module)
    embedding_parameters=("embed_in.",),
    prompts="inputs",
)

PHI = replace(
    GPT_NEOX,
    model_type="phi",
    base_prefix="model",
    stacks=(
        replace(
            GPT_NEOX.stacks[0],
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
                    residual=("in:input_layernorm", "out:self_attn"),
                    sums=False,
                    saved_as="output_adapters",
                ),
            ),
            attentions=(
                Attention(
                    path="self_attn",
                    query="q_proj",
                    key="k_proj",
                    value="v_proj",
                    output="self_attn.dense",
                ),
            ),
            ffn_in=("mlp.fc1",),
            ffn_out="mlp.fc2",
            lora_intermediate="mlp.fc1",
            lora_output="mlp.fc2",
        ),
    ),
    embedding_output="embed_dropout",
    token_embedding="embed_tokens",  # noqa: S106  (a module)
    embedding_parameters=("embed_tokens.",),
)
