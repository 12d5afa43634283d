"""DistilBERT (checked on transformers 5.23.0)."""

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
)

DISTILBERT = Architecture(
    model_type="distilbert",
    inverts_at_static_head=False,
    base_prefix="distilbert",
    stacks=(
        LayerStack(
            path="transformer.layer",
            role="encoder",
            sites=(
                ResidualSite(
                    key="mh_adapter",
                    out="attention.out_lin",
                    residual=("in:attention",),
                    norm="sa_layer_norm",
                    saved_as="attention_adapters",
                ),
                ResidualSite(
                    key="output_adapter",
                    out="ffn",
                    residual=("in:ffn",),
                    norm="output_layer_norm",
                    saved_as="output_adapters",
                ),
            ),
            attentions=(
                Attention(
                    path="attention",
                    query="q_lin",
                    key="k_lin",
                    value="v_lin",
                    output="attention.out_lin",
                    prefixes_saved_as="self",
                ),
            ),
            ffn_in=("ffn.lin1",),
            ffn_out="ffn.lin2",
            lora_intermediate="ffn.lin1",
            lora_output="ffn.lin2",
        ),
    ),
    embedding_output="embeddings",
    token_embedding="embeddings.word_embeddings",  # noqa: S106  (a module)
    embedding_parameters=("embeddings.",),
)
