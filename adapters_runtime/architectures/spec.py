"""The vocabulary in which an architecture is described to the runtime.

A spec is data: module paths and no behaviour. One injector serves every method on every
architecture, and `shapes` derives the tensors of an adapter from it without loading torch.

Paths are dotted. Those of a `LayerStack` are relative to one layer, those of an `Attention`'s
projections to the attention module, all others to the base model. `a|b` means the first of the two
that the model has (T5 calls its feed-forward projection `wi` or `wi_0`).
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["self", "encoder", "cross"]
StackRole = Literal["encoder", "decoder"]
SiteKey = Literal["mh_adapter", "output_adapter", "cross_adapter"]
LoRAField = Literal["intermediate_lora", "output_lora"]


@dataclass(frozen=True, kw_only=True)
class FusedProjection:
    """Query, key and value in one linear map."""

    path: str
    layout: Literal["concat", "per_head"] = "concat"
    """`concat` is [q|k|v]; `per_head` is [q k v] of head 0, [q k v] of head 1, and so on.

    Where several query heads share a key head (Falcon), all of them stand before it.
    """
    parts: tuple[str, ...] = ("q", "k", "v")


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One attention module of a layer."""

    path: str
    """The module whose forward calls the attention interface of transformers, or attends."""
    role: Role = "self"
    """Prefixes of this module are called `{role}_prefix`."""
    query: str | None = None
    key: str | None = None
    value: str | None = None
    fused: FusedProjection | None = None
    output: str
    """The output projection, relative to the layer: BERT keeps it in a sibling module."""
    query_last: bool = False
    """AdapterHub's library computes the query last here, and lists the scores of its gate last."""
    lora: bool = True
    """Whether LoRA stands at its projections; in GPT-2's cross-attention AdapterHub has none."""
    scaled_query: bool = False
    """Whether its forward scales queries before it multiplies them with keys.

    Asked only where `LayerStack.attention` is "softmax".
    """
    dropout: str | None = "dropout"
    """The module, if any, that drops weights of the attention; asked in the same case."""
    prefixes_saved_as: str | None = None
    """Name of its prefixes in AdapterHub's files, where it is not `{role}_prefix`."""
    needs: str | None = None
    """A module with parameters, without which a model's layers lack this place: see `fitted`."""


@dataclass(frozen=True, kw_only=True)
class ResidualSite:
    """One residual sub-block, y = norm?(r + h) or r + norm(h): where a bottleneck stands.

    The module `out` yields h, the streams in `residual` sum to r, and the model adds the two.
    """

    key: SiteKey
    out: str
    """The module whose output is h, as close to the addition as a module can be."""
    residual: tuple[str, ...]
    """`in:<path>` is the input of a module, `out:<path>` its output."""
    norm: str | None = None
    """The norm applied to r + h, of post-LN models; to h alone where the site is a `sandwich`."""
    sandwich: bool = False
    """The model adds norm(h) to r (Gemma). A bottleneck stands before the norm."""
    sums: bool = True
    """Whether `original_ln_before` adds r to h; not in Phi, as AdapterHub's weights expect."""
    saved_as: str
    """Where AdapterHub's files keep the modules of this site, relative to the layer."""
    swapped: bool = False
    """AdapterHub passes h and r in the wrong order here (ALBERT); its weights expect it."""
    needs: str | None = None
    """A module with parameters, without which a model's layers lack this place: see `fitted`."""


@dataclass(frozen=True, kw_only=True)
class LayerStack:
    """A list of equal layers."""

    path: str
    """Path of the ModuleList; `a.*.b` flattens nested lists (ALBERT's groups)."""
    role: StackRole
    sites: tuple[ResidualSite, ...]
    attentions: tuple[Attention, ...]
    ffn_in: tuple[str, ...] = ()
    """Every projection from the hidden size to the feed-forward size; gated ones have two.

    A mixture of experts has none: each token has its own.
    """
    ffn_out: str | None = None
    """The projection back to the hidden size."""
    lora_intermediate: str | None = None
    """What AdapterHub's LoRA calls "intermediate"."""
    lora_output: str | None = None
    """What AdapterHub's LoRA calls "output"."""
    flattens: bool = False
    """Whether a part of it reads all tokens of a batch as one list, (rows * tokens, width): OPT."""
    attention: Literal["interface", "softmax"] = "interface"
    """How prefixes reach the attention: through transformers' registry, or around it.

    An attention that has a method `_attn` of its own, as GPT-J's had before transformers 5.24, is
    entered there in either case.
    """
    conv1d: bool = False
    """Its projections keep weights as (in, out), as GPT-2's Conv1D does."""
    part: str = ""
    """Path of the model it belongs to, where the base is made of several: see `pairs`.

    Each of them has a configuration of its own, and in AdapterHub's files a pool of prefixes.
    """
    saved_path: str | None = None
    """Path of the list in AdapterHub's files, where transformers has renamed it since."""
    saved_names: tuple[tuple[str, str], ...] = ()
    """(path, path in AdapterHub's files) of modules that transformers has renamed since."""

    @property
    def pool(self) -> str:
        """Where AdapterHub's files keep its prefixes."""
        return f"{self.part}.prefix_tuning" if self.part else "prefix_tuning"

    def lora_map(self, field: LoRAField) -> str | None:
        """Return the map that a field of LoRA's configuration stands for, where there is one."""
        return self.lora_intermediate if field == "intermediate_lora" else self.lora_output

    @property
    def reader(self) -> str:
        """A linear map that reads the stream: it tells how wide that is."""
        if self.ffn_in:
            return self.ffn_in[0]
        attention = self.attentions[0]
        return f"{attention.path}.{attention.fused.path if attention.fused else attention.query}"

    def saved_as(self, path: str) -> str:
        """Return the path, within a layer, under which AdapterHub's files know a module."""
        return dict(self.saved_names).get(path, path)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All the runtime knows of one model type."""

    model_type: str
    """`config.model_type` in transformers; the key under which the spec is found."""
    base_prefix: str
    """`base_model_prefix` in transformers: attribute of a model with a head that holds its base."""
    stacks: tuple[LayerStack, ...]
    embedding_output: str
    """The module whose output, (batch, length, hidden), enters the layers."""
    token_embedding: str | None
    """The embedding of token ids, (vocabulary, width); None for vision models."""
    token_lookups: tuple[str, ...] = ()
    """The modules that look tokens up, where these are others that share its weight (BART, T5)."""
    invertible_saved_as: str = "invertible_adapters"
    """Where AdapterHub's files keep invertible adapters."""
    shared_saved_in: str = ""
    """Path of the module in AdapterHub's files that has what all layers of an adapter share."""
    embedding_parameters: tuple[str, ...]
    """Prefixes of the parameters that count as embeddings when a base is identified."""
    pooler_parameters: tuple[str, ...] = ()
    """Prefixes of parameters that belong neither to the body nor to the embeddings."""
    body_parameters: tuple[str, ...] = ("",)
    """Prefixes of those that may belong to the body; where the base holds a head, not of all."""
    inverts_at_static_head: bool = True
    """Whether the LM head a model was built with sees the stream with an invertible adapter undone.

    AdapterHub's own models do it only before flexible heads, and their weights expect it so.
    """
    inverts_unscaled: bool = False
    """Whether invertible adapters read embeddings before these are scaled: AdapterHub's Gemma 2."""
    prefix_bias: Literal["pad", "recompute"] = "pad"
    """T5 recomputes its relative bias over prefix and keys; AdapterHub's weights expect it."""
    summary: Literal["by_role", "pooled", "end_or_first", "end_or_everywhere"] = "by_role"
    """Where the vector that stands for a sequence is; by the roles of the stacks if nothing else.

    BEiT's pooler takes the mean of all patches. When the decoder's input has no end, AdapterHub's
    mBART classifies at its first position, and T5 at each.
    """
    ties_output: bool = True
    """Whether its own LM head is tied to the token embedding when config.json does not say."""
    prompts: Literal["stream", "inputs"] | None = "stream"
    """Where prompts enter: after the embeddings, as in AdapterHub's encoders, or as if they were
    text. None: nowhere, since the model counts its places."""
    counts_places: str | None = None
    """Part of the name of a parameter by which a model counts its places: see `fitted`."""
    prompts_see_padding: bool = False
    """AdapterHub's DeBERTa lets prompts attend to padding; its weights expect it."""
    methods: tuple[str, ...] | None = None
    """The kinds of adapters that may stand here, as `AdapterMethod` has them; None: all."""

    @property
    def lookups(self) -> tuple[str, ...]:
        """The modules that look tokens up, whichever they are."""
        token = self.token_embedding
        return self.token_lookups or (() if token is None else (token,))

    def role_of(self, parameter: str) -> Literal["body", "embeddings", "apart"]:
        """Say what a parameter counts as when a base is identified, by its name."""
        if parameter.startswith(self.embedding_parameters):
            return "embeddings"
        inside = parameter.startswith(self.body_parameters)
        return "body" if inside and not parameter.startswith(self.pooler_parameters) else "apart"

    def allows(self, method: str) -> bool:
        """Whether adapters of a kind, as `AdapterMethod` has them, may stand here."""
        return self.methods is None or method in self.methods

    def has_place(self, kind: str | None) -> bool:
        """Whether adapters of a kind, as `meaning` calls them, can stand somewhere."""
        if kind == "prompt_tuning":
            return self.prompts is not None
        return kind != "stream" or self.token_embedding is not None
