"""GPT-2 (checked on transformers 5.23.0). Its Conv1D keeps query, key and value in one matrix."""

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    FusedProjection,
    LayerStack,
    ResidualSite,
)

GPT2 = Architecture(
    model_type="gpt2",
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
                    residual=("in:ln_2",),
                    saved_as="output_adapters",
                ),
            ),
            attentions=(
                Attention(path="attn", fused=FusedProjection(path="c_attn"), output="attn.c_proj"),
            ),
            ffn_in=("mlp.c_fc",),
            ffn_out="mlp.c_proj",
            lora_intermediate="mlp.c_fc",
            lora_output="mlp.c_proj",
        ),
    ),
    embedding_output="drop",
    token_embedding="wte",  # noqa: S106  (a module)
    embedding_parameters=("wte.", "wpe."),
    prompts="inputs",
    conv1d=True,
)
