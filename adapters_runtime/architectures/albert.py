"""ALBERT (checked on transformers 5.23.0). Layers come in groups, each used many times."""

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
)

ALBERT = Architecture(
    model_type="albert",
    inverts_at_static_head=False,
    base_prefix="albert",
    stacks=(
        LayerStack(
            path="encoder.albert_layer_groups.*.albert_layers",
            role="encoder",
            sites=(
                ResidualSite(
                    key="mh_adapter",
                    out="attention.output_dropout",
                    residual=("in:attention",),
                    norm="attention.LayerNorm",
                    saved_as="attention.attention_adapters",
                    swapped=True,
                ),
                ResidualSite(
                    key="output_adapter",
                    out="ffn_output",
                    residual=("in:ffn",),
                    norm="full_layer_layer_norm",
                    saved_as="output_adapters",
                ),
            ),
            attentions=(
                Attention(
                    path="attention",
                    query="query",
                    key="key",
                    value="value",
                    output="attention.dense",
                ),
            ),
            ffn_in=("ffn",),
            ffn_out="ffn_output",
            lora_intermediate="ffn",
            lora_output="ffn_output",
        ),
    ),
    embedding_output="embeddings",
    token_embedding="embeddings.word_embeddings",  # noqa: S106  (a module)
    embedding_parameters=("embeddings.",),
    pooler_parameters=("pooler.",),
)
