"""ViT, DeiT and BEiT (checked on transformers 5.23.0, which renamed all their modules)."""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
)

LAYERS = LayerStack(
    path="layers",
    role="encoder",
    # One module ends both sub-blocks: it is called twice in each layer.
    sites=(
        ResidualSite(
            key="mh_adapter",
            out="dropout",
            residual=("in:layernorm_before",),
            saved_as="attention_adapters",
        ),
        ResidualSite(
            key="output_adapter",
            out="dropout",
            residual=("in:layernorm_after",),
            saved_as="output.output_adapters",
        ),
    ),
    attentions=(
        Attention(
            path="attention",
            query="q_proj",
            key="k_proj",
            value="v_proj",
            output="attention.o_proj",
            query_last=True,
        ),
    ),
    ffn_in=("mlp.fc1",),
    ffn_out="mlp.fc2",
    lora_intermediate="mlp.fc1",
    lora_output="mlp.fc2",
    saved_path="encoder.layer",
    saved_names=(
        ("attention", "attention.attention"),
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ),
)

VIT = Architecture(
    model_type="vit",
    base_prefix="vit",
    stacks=(LAYERS,),
    embedding_output="embeddings",
    token_embedding=None,
    embedding_parameters=("embeddings.",),
    pooler_parameters=("pooler.",),
)
DEIT = replace(VIT, model_type="deit", base_prefix="deit")

# A factor for each channel comes after `dropout` here, so that `drop_path` is the last module.
BEIT = replace(
    VIT,
    model_type="beit",
    counts_places="relative_position_bias",
    base_prefix="beit",
    summary="pooled",
    stacks=(
        replace(
            LAYERS,
            sites=(
                replace(LAYERS.sites[0], out="drop_path"),
                replace(LAYERS.sites[1], out="drop_path", saved_as="output_adapters"),
            ),
            attentions=(replace(LAYERS.attentions[0], query_last=False),),
        ),
    ),
)
