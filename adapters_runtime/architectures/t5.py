"""T5 and mT5 (checked on transformers 5.23.0)."""

from dataclasses import replace

from adapters_runtime.architectures.spec import (
    Architecture,
    Attention,
    LayerStack,
    ResidualSite,
    Role,
    SiteKey,
    StackRole,
)


def _site(key: SiteKey, sub_layer: str) -> ResidualSite:
    return ResidualSite(
        key=key,
        out=f"{sub_layer}.dropout",
        residual=(f"in:{sub_layer}.layer_norm",),
        saved_as=sub_layer,
    )


def _attention(path: str, role: Role) -> Attention:
    return Attention(
        path=path,
        role=role,
        query="q",
        key="k",
        value="v",
        output=f"{path}.o",
    )


def _stack(
    role: StackRole, sites: tuple[ResidualSite, ...], attentions: tuple[Attention, ...]
) -> LayerStack:
    ffn = sites[-1].saved_as + ".DenseReluDense"
    return LayerStack(
        path=f"{role}.block",
        role=role,
        sites=sites,
        attentions=attentions,
        ffn_in=(f"{ffn}.wi|{ffn}.wi_0", f"{ffn}.wi|{ffn}.wi_1"),
        ffn_out=f"{ffn}.wo",
        lora_intermediate=f"{ffn}.wi|{ffn}.wi_1",
        lora_output=f"{ffn}.wo",
    )


T5 = Architecture(
    model_type="t5",
    inverts_at_static_head=False,
    base_prefix="transformer",
    stacks=(
        _stack(
            "encoder",
            (_site("mh_adapter", "layer.0"), _site("output_adapter", "layer.1")),
            (_attention("layer.0.SelfAttention", "encoder"),),
        ),
        _stack(
            "decoder",
            (
                _site("mh_adapter", "layer.0"),
                _site("cross_adapter", "layer.1"),
                _site("output_adapter", "layer.2"),
            ),
            (
                _attention("layer.0.SelfAttention", "self"),
                _attention("layer.1.EncDecAttention", "cross"),
            ),
        ),
    ),
    embedding_output="encoder.embed_tokens",
    token_embedding="shared",  # noqa: S106  (a module)
    token_lookups=("encoder.embed_tokens", "decoder.embed_tokens"),
    invertible_saved_as="encoder.invertible_adapters",
    embedding_parameters=("shared.", "encoder.embed_tokens.", "decoder.embed_tokens."),
    prefix_bias="recompute",
    prompts="inputs",
    summary="end_or_everywhere",
)
MT5 = replace(T5, model_type="mt5")
