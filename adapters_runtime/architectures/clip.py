"""CLIP (checked on transformers 5.23.0): a stack for texts and one for images."""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
)

TEXT = LayerStack(
    path="text_model.encoder.layers",
    role="encoder",
    sites=(
        ResidualSite(
            key="mh_adapter",
            out="self_attn",
            residual=("in:layer_norm1",),
            saved_as="attention_adapters",
        ),
        ResidualSite(
            key="output_adapter",
            out="mlp",
            residual=("in:layer_norm2",),
            saved_as="output_adapters",
        ),
    ),
    attentions=(
        Attention(
            path="self_attn",
            query="q_proj",
            key="k_proj",
            value="v_proj",
            output="self_attn.out_proj",
        ),
    ),
    ffn_in=("mlp.fc1",),
    ffn_out="mlp.fc2",
    lora_intermediate="mlp.fc1",
    lora_output="mlp.fc2",
)

# The two towers differ in width, so that one pool cannot serve both.
VISION = replace(
    TEXT,
    path="vision_model.encoder.layers",
    attentions=(replace(TEXT.attentions[0], prefixes_saved_as="vision_prefix"),),
)

CLIP = Architecture(
    model_type="clip",
    prompts=None,
    base_prefix="clip",
    stacks=(TEXT, VISION),
    embedding_output="text_model.embeddings",
    token_embedding="text_model.embeddings.token_embedding",  # noqa: S106  (a module)
    embedding_parameters=("text_model.embeddings.", "vision_model.embeddings."),
    pooler_parameters=("text_projection.", "visual_projection.", "logit_scale"),
)
