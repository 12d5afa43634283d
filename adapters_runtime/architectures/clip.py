"""CLIP (checked on transformers 5.24.0): a stack for texts and one for images, or one of them."""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
)

TEXT = LayerStack(
    path="encoder.layers",
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
            prefixes_saved_as="clip_text_model_self_prefix",
        ),
    ),
    ffn_in=("mlp.fc1",),
    ffn_out="mlp.fc2",
    lora_intermediate="mlp.fc1",
    lora_output="mlp.fc2",
    saved_path="text_model.encoder.layers",
)

# The two towers differ in width, so that one pool cannot serve both.
VISION = replace(
    TEXT,
    attentions=(replace(TEXT.attentions[0], prefixes_saved_as="clip_vision_model_self_prefix"),),
    saved_path="vision_model.encoder.layers",
)

CLIP_TEXT_MODEL = Architecture(
    model_type="clip_text_model",
    prompts=None,
    # Only the text's end has seen all of it.
    summary="pooled",
    base_prefix="clip",
    stacks=(TEXT,),
    embedding_output="embeddings",
    token_embedding="embeddings.token_embedding",  # noqa: S106  (a module)
    invertible_saved_as="text_model.invertible_adapters",
    embedding_parameters=("embeddings.",),
)

CLIP_VISION_MODEL = replace(
    CLIP_TEXT_MODEL,
    model_type="clip_vision_model",
    stacks=(VISION,),
    embedding_output="pre_layrnorm",
    token_embedding=None,
    invertible_saved_as="vision_model.invertible_adapters",
    embedding_parameters=("embeddings.", "pre_layrnorm."),
)

CLIP = Architecture(
    model_type="clip",
    prompts=None,
    base_prefix="clip",
    stacks=(
        replace(TEXT, path="text_model.encoder.layers"),
        replace(VISION, path="vision_model.encoder.layers"),
    ),
    embedding_output="text_model.embeddings",
    token_embedding="text_model.embeddings.token_embedding",  # noqa: S106  (a module)
    invertible_saved_as="text_model.invertible_adapters",
    embedding_parameters=("text_model.embeddings.", "vision_model.embeddings."),
    pooler_parameters=("text_projection.", "visual_projection.", "logit_scale"),
)
