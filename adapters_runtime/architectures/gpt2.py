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
                Attention(
                    path="crossattention",
                    role="cross",
                    fused=FusedProjection(path="c_attn", parts=("k", "v")),
                    output="crossattention.c_proj",
                    lora=False,
                    needs="crossattention",
                ),
            ),
            ffn_in=("mlp.c_fc",),
            ffn_out="mlp.c_proj",
            lora_intermediate="mlp.c_fc",
            lora_output="mlp.c_proj",
            conv1d=True,
        ),
    ),
    embedding_output="drop",
    token_embedding="wte",  # noqa: S106  (a module)
    embedding_parameters=("wte.", "wpe."),
    prompts="inputs",
)
