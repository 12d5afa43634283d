"""DeBERTa, both versions (checked on transformers 5.23.0). They compute attention by themselves."""

from dataclasses import replace

from adapters_runtime.architectures.bert import BERT, LAYERS
from adapters_runtime.architectures.spec import Attention, FusedProjection

DEBERTA_V2 = replace(
    BERT,
    model_type="deberta-v2",
    base_prefix="deberta",
    stacks=(
        replace(
            LAYERS,
            attentions=(
                Attention(
                    path="attention.self",
                    query="query_proj",
                    key="key_proj",
                    value="value_proj",
                    output="attention.output.dense",
                ),
            ),
            attention="softmax",
        ),
    ),
    prompts_see_padding=True,
)

DEBERTA = replace(
    DEBERTA_V2,
    model_type="deberta",
    stacks=(
        replace(
            LAYERS,
            attentions=(
                Attention(
                    path="attention.self",
                    fused=FusedProjection(path="in_proj", layout="per_head"),
                    output="attention.output.dense",
                    scaled_query=True,
                ),
            ),
            attention="softmax",
        ),
    ),
)
