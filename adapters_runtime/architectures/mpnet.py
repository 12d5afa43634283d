"""MPNet (checked on transformers 5.23.0). It computes attention by itself."""

from dataclasses import replace

from adapters_runtime.architectures.bert import BERT, LAYERS
from adapters_runtime.architectures.spec import Attention, ResidualSite

MPNET = replace(
    BERT,
    model_type="mpnet",
    base_prefix="mpnet",
    stacks=(
        replace(
            LAYERS,
            sites=(
                ResidualSite(
                    key="mh_adapter",
                    out="attention.dropout",
                    residual=("in:attention",),
                    norm="attention.LayerNorm",
                    saved_as="attention",
                ),
                LAYERS.sites[-1],
            ),
            attentions=(
                Attention(
                    path="attention.attn", query="q", key="k", value="v", output="attention.attn.o"
                ),
            ),
            attention="softmax",
        ),
    ),
)
