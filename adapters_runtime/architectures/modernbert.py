"""ModernBERT (checked on transformers 5.23.0)."""

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    FusedProjection,
    LayerStack,
    ResidualSite,
)

MODERNBERT = Architecture(
    model_type="modernbert",
    base_prefix="model",
    stacks=(
        LayerStack(
            path="layers",
            role="encoder",
            sites=(
                ResidualSite(
                    key="mh_adapter",
                    out="attn",
                    residual=("in:attn_norm",),
                    saved_as="attention_adapters",
                ),
                ResidualSite(
                    key="output_adapter",
                    out="mlp",
                    residual=("in:mlp_norm",),
                    saved_as="output_adapters",
                ),
            ),
            attentions=(
                Attention(path="attn", fused=FusedProjection(path="Wqkv"), output="attn.Wo"),
            ),
            ffn_in=("mlp.Wi",),
            ffn_out="mlp.Wo",
            lora_intermediate="mlp.Wi",
            lora_output="mlp.Wo",
        ),
    ),
    embedding_output="embeddings",
    token_embedding="embeddings.tok_embeddings",  # noqa: S106  (a module)
    embedding_parameters=("embeddings.",),
    prompts="inputs",
)
