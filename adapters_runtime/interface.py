"""Models without a specification, described as AdapterHub's library has it: by dotted paths.

An interface becomes a specification (`adapters_runtime.architectures.spec`), so that all methods
run on the model by the one mechanism. Files then have the names that AdapterHub's have for
interfaces, which are not those of its own models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from adapters_runtime.architectures import (
    Architecture,
    Attention,
    FusedProjection,
    LayerStack,
    ResidualSite,
    Role,
)
from adapters_runtime.configs import AdapterMethod
from adapters_runtime.errors import ConfigError, UnsupportedArchitecture
from adapters_runtime.inject.bank import base_of
from adapters_runtime.inject.paths import find, token_embedding

__all__ = ["AdapterMethod", "AdapterModelInterface"]


@dataclass(frozen=True)
class AdapterModelInterface:
    """Where the modules of a model are. Paths of `model_*` start at the base model.

    Those of `layer_*` start at a layer, those of `attn_*` at the attention. Raises ConfigError for
    a method that does not exist, and unless projections are given either together or apart.
    """

    adapter_methods: Sequence[str]
    """Kinds of `AdapterMethod` that may be added."""
    model_embeddings: str
    model_layers: str
    layer_self_attn: str | None
    layer_cross_attn: str | None
    attn_o_proj: str | None
    layer_intermediate_proj: str | None
    layer_output_proj: str | None
    attn_k_proj: str | None = None
    attn_q_proj: str | None = None
    attn_v_proj: str | None = None
    attn_qkv_proj: str | None = None
    """One map whose output is [q | k | v]."""
    layer_pre_self_attn: str | None = None
    """The module whose input is the residual stream around self-attention."""
    layer_pre_cross_attn: str | None = None
    layer_pre_ffn: str | None = None
    layer_ln_1: str | None = None
    """The norm after the residual of self-attention, where the model has it there (post-LN)."""
    layer_ln_2: str | None = None
    base_model: str | None = None
    """Attribute of a model with a head that holds its base, where transformers does not say."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.adapter_methods) - set(AdapterMethod.ALL)):
            raise ConfigError(
                f"adapter_methods has {', '.join(unknown)} (there are: "
                f"{', '.join(AdapterMethod.ALL)})"
            )
        apart = [self.attn_q_proj, self.attn_k_proj, self.attn_v_proj]
        if any(apart) if self.attn_qkv_proj else not all(apart):
            raise ConfigError("give attn_qkv_proj, or attn_q_proj, attn_k_proj and attn_v_proj")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "adapter_methods": list(self.adapter_methods)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AdapterModelInterface":
        """Read what `to_dict` gave; raises ConfigError for fields unknown or missing."""
        if unknown := sorted(set(data) - {field.name for field in fields(cls)}):
            raise ConfigError(f"an interface has no field {', '.join(map(repr, unknown))}")
        try:
            return cls(**data)
        except TypeError as error:
            raise ConfigError(f"an interface is not complete: {error}") from error

    def specify(self, model: nn.Module) -> Architecture:
        """Return the specification of a model; raises ConfigError for a path that leads nowhere."""
        base = base_of(model)
        self._check(base)
        return Architecture(
            model_type=model.config.model_type,  # type: ignore[union-attr, arg-type]
            base_prefix=model.base_model_prefix,  # type: ignore[arg-type]
            stacks=(self._stack(),),
            embedding_output=self.model_embeddings,
            token_embedding=token_embedding(base),
            embedding_parameters=(f"{self.model_embeddings}.",),
            prompts="stream" if AdapterMethod.prompt_tuning in self.adapter_methods else None,
            methods=tuple(self.adapter_methods),
        )

    def _stack(self) -> LayerStack:
        assert self.layer_intermediate_proj is not None
        assert self.layer_output_proj is not None
        return LayerStack(
            path=self.model_layers,
            role="encoder" if self.layer_cross_attn is None else "decoder",
            sites=tuple(self._sites()),
            attentions=tuple(self._attentions()),
            ffn_in=(self.layer_intermediate_proj,),
            ffn_out=self.layer_output_proj,
            lora_intermediate=self.layer_intermediate_proj,
            lora_output=self.layer_output_proj,
        )

    def _sites(self) -> Iterator[ResidualSite]:
        assert self.layer_output_proj is not None
        if self.layer_pre_self_attn is not None:
            yield ResidualSite(
                key="mh_adapter",
                out=f"{self.layer_self_attn}.{self.attn_o_proj}",
                residual=(f"in:{self.layer_pre_self_attn}",),
                norm=self.layer_ln_1,
                saved_as="attention_adapters",
            )
        if self.layer_pre_cross_attn is not None:
            yield ResidualSite(
                key="cross_adapter",
                out=f"{self.layer_cross_attn}.{self.attn_o_proj}",
                residual=(f"in:{self.layer_pre_cross_attn}",),
                saved_as="cross_attention_adapters",
            )
        if self.layer_pre_ffn is not None:
            yield ResidualSite(
                key="output_adapter",
                out=self.layer_output_proj,
                residual=(f"in:{self.layer_pre_ffn}",),
                norm=self.layer_ln_2,
                saved_as="output_adapters",
            )

    def _attentions(self) -> Iterator[Attention]:
        fused = None if self.attn_qkv_proj is None else FusedProjection(path=self.attn_qkv_proj)
        roles: dict[Role, str | None] = {
            "self": self.layer_self_attn,
            "cross": self.layer_cross_attn,
        }
        for role, path in roles.items():
            if path is not None:
                yield Attention(
                    path=path,
                    role=role,
                    query=self.attn_q_proj,
                    key=self.attn_k_proj,
                    value=self.attn_v_proj,
                    fused=fused,
                    output=f"{path}.{self.attn_o_proj}",
                )

    def _check(self, base: nn.Module) -> None:
        """Raise ConfigError unless each path leads to a module, in the first layer."""
        for name in ("layer_self_attn", "attn_o_proj", "layer_intermediate_proj"):
            self._require(name)
        self._require("layer_output_proj")
        if self.layer_pre_cross_attn is not None:
            self._require("layer_cross_attn")
        self._find(base, "model_embeddings")
        layers = self._find(base, "model_layers")
        if not isinstance(layers, nn.ModuleList) or not len(layers):
            raise ConfigError(f"model_layers, {self.model_layers!r}, is no list of layers")
        for name in (field.name for field in fields(self)):
            if name.startswith("layer_"):
                self._find(layers[0], name)
        attention = self._find(layers[0], "layer_self_attn")
        for name in (field.name for field in fields(self)):
            if name.startswith("attn_"):
                self._find(attention, name)

    def _require(self, name: str) -> None:
        if getattr(self, name) is None:
            raise ConfigError(f"the interface needs {name}: adapters stand around it")

    def _find(self, root: nn.Module, name: str) -> nn.Module:
        path = getattr(self, name)
        try:
            return root if path is None else find(root, path)
        except UnsupportedArchitecture as error:
            raise ConfigError(
                f"{name} of the interface is {path!r}, and {type(root).__name__} has no such module"
            ) from error
