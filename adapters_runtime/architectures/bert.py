"""BERT, and the models that kept the names of its modules (checked on transformers 5.23.0)."""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
)

LAYERS = LayerStack(
    path="encoder.layer",
    role="encoder",
    sites=(
        ResidualSite(
            key="mh_adapter",
            out="attention.output.dropout",
            residual=("in:attention",),
            norm="attention.output.LayerNorm",
            saved_as="attention.output",
        ),
        # AdapterHub's library knows this place by the name of the one before it.
        ResidualSite(
            key="mh_adapter",
            out="crossattention.output.dropout",
            residual=("in:crossattention",),
            norm="crossattention.output.LayerNorm",
            saved_as="crossattention.output",
            needs="crossattention",
        ),
        ResidualSite(
            key="output_adapter",
            out="output.dropout",
            residual=("in:intermediate",),
            norm="output.LayerNorm",
            saved_as="output",
        ),
    ),
    attentions=(
        Attention(
            path="attention.self",
            query="query",
            key="key",
            value="value",
            output="attention.output.dense",
        ),
        Attention(
            path="crossattention.self",
            role="cross",
            query="query",
            key="key",
            value="value",
            output="crossattention.output.dense",
            needs="crossattention",
        ),
    ),
    ffn_in=("intermediate.dense",),
    ffn_out="output.dense",
    lora_intermediate="intermediate.dense",
    lora_output="output.dense",
)

BERT = Architecture(
    model_type="bert",
    inverts_at_static_head=False,
    base_prefix="bert",
    stacks=(LAYERS,),
    embedding_output="embeddings",
    token_embedding="embeddings.word_embeddings",  # noqa: S106  (a module)
    embedding_parameters=("embeddings.",),
    pooler_parameters=("pooler.",),
)

BERT_GENERATION = replace(BERT, model_type="bert-generation", base_prefix="bert")
ELECTRA = replace(BERT, model_type="electra", base_prefix="electra")
ROBERTA = replace(BERT, model_type="roberta", base_prefix="roberta")
CAMEMBERT = replace(ROBERTA, model_type="camembert")
XLM_ROBERTA = replace(ROBERTA, model_type="xlm-roberta")

# Its own language adapters and its norm follow the addition, or precede the sub-block.
XMOD = replace(
    ROBERTA,
    model_type="xmod",
    stacks=(
        replace(
            LAYERS,
            sites=(
                replace(LAYERS.sites[0], norm=None),
                replace(LAYERS.sites[1], norm=None),
                replace(LAYERS.sites[2], norm=None, residual=("out:attention",)),
            ),
        ),
    ),
)
