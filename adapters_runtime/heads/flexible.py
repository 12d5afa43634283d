"""A model whose heads are added, switched and removed like adapters."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from adapters_runtime.context import current_override
from adapters_runtime.errors import ConfigError, HeadExists, HeadNotFound
from adapters_runtime.heads import averaging, static
from adapters_runtime.heads.adding import AddsHeads
from adapters_runtime.heads.base import HeadConfig, PredictionHead, own_inputs
from adapters_runtime.heads.language_modeling import LanguageModelingHead
from adapters_runtime.heads.registry import Heads, offered_heads
from adapters_runtime.heads.running import Run
from adapters_runtime.heads.selection import HeadSetup, heads_of, names_in, parse_heads
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.named import NamedModules
from adapters_runtime.io import whole
from adapters_runtime.model import AdapterMethods


class FlexibleHeads(AddsHeads, AdapterMethods):
    """What a model with flexible heads has beside adapters.

    The head in use is the one a call names (`head=...`), else the one of the surrounding
    `AdapterSetup`, else `active_head`. Without any the base model's own output is returned.
    """

    config: Any
    base_model: nn.Module
    base_model_prefix: str
    training: bool
    _heads: NamedModules
    _active_head: HeadSetup
    _base_inputs: tuple[str, ...]
    """Arguments of the base's forward, in order."""

    @property
    def head_types(self) -> Heads:  # type: ignore[override]
        """The heads that this architecture offers, by type."""
        return offered_heads(bank_of(self).architecture)  # type: ignore[arg-type]

    @property
    def heads(self) -> dict[str, PredictionHead]:
        return {name: self._require_head(name) for name in self._heads}

    @property
    def active_head(self) -> Any:
        """A name, a list of names, `Parallel` or `BatchSplit` of names, or None."""
        heads = self._current_heads()
        return list(heads) if isinstance(heads, tuple) else heads

    @active_head.setter
    def active_head(self, heads: Any) -> None:
        setup = parse_heads(heads)
        for name in names_in(setup):
            self._require_head(name)
        self._active_head = setup
        if isinstance(setup, str) and (labels := self._heads_labels(setup)):
            # Pipelines name the classes by the configuration.
            self.config.id2label = labels
            self.config.label2id = {label: index for index, label in labels.items()}

    def active_heads(self) -> list[PredictionHead]:
        """Return the heads that the next call would run, each once."""
        return [self._require_head(name) for name in names_in(self._current_heads())]

    def set_active_adapters(
        self, adapter_setup: Any, skip_layers: Iterable[int] | None = None
    ) -> None:
        """Activate a set-up, and the heads that are called like its last adapters, if all exist."""
        super().set_active_adapters(adapter_setup, skip_layers)
        heads = heads_of(self.active_adapters)
        if heads is not None and all(name in self._heads for name in names_in(heads)):
            self.active_head = heads

    # --- adding, removing, asking

    def add_prediction_head(
        self, head: PredictionHead, overwrite_ok: bool = False, set_active: bool = True
    ) -> None:
        """Add a head and make it the active one; raises HeadExists."""
        if head.name in self._heads:
            if not overwrite_ok:
                raise HeadExists(head.name)
            self._forget(head.name)
        self._heads[head.name] = head
        bank = bank_of(self)  # type: ignore[arg-type]
        if (output := head.get_output_embeddings()) is not None:
            bank.end_stream_at(output, invert=True)
        if head.brings_table:
            bank.tables.ask(self)  # type: ignore[arg-type]
        if set_active:
            self.active_head = head.name

    def converted_head(
        self,
        head_name: str,
        class_name: str,
        tensors: Mapping[str, Tensor],
        labels: Mapping[str, int] | None = None,
        num_labels: int | None = None,
    ) -> PredictionHead | None:
        """Return the flexible head that stands for the head of a transformers class, not added.

        None, with a warning, when there is none.
        """
        return static.convert(
            self, head_name, static.StaticHead(class_name, tensors, labels, num_labels)
        )

    def delete_head(self, head_name: str) -> None:
        """Remove a head; a head set-up in which it was active is left."""
        self._require_head(head_name)
        self._forget(head_name)
        if head_name in names_in(self._active_head):
            self._active_head = None

    def average_head(
        self,
        head_name: str,
        head_list: Iterable[str] | Mapping[str, float],
        weights: Iterable[float] | None = None,
        normalize_weights: bool = True,
        overwrite_ok: bool = False,
        set_active: bool = False,
    ) -> None:
        """Add a head whose parameters are the weighted mean of those of others.

        These are given as {name: weight}, or as names with `weights`. Raises ConfigError unless
        their configurations agree.
        """
        shares = averaging.shares(head_list, weights, normalize=normalize_weights)
        heads = {self._require_head(name): share for name, share in shares.items()}
        new = self.new_head(head_name, next(iter(heads)).config)
        averaging.fill(new, heads)
        self.add_prediction_head(new, overwrite_ok, set_active)

    def get_prediction_heads_config(self) -> dict[str, HeadConfig]:
        return {name: head.config for name, head in self.heads.items()}

    def get_labels(self, head_name: str | None = None) -> list[str] | None:
        labels = self.get_labels_dict(head_name)
        return None if labels is None else list(labels.values())

    def get_labels_dict(self, head_name: str | None = None) -> dict[int, str] | None:
        """Return {index: label} of a head, by default the active one; None if it has no labels.

        Raises HeadNotFound when there is no such head, or not exactly one that is active.
        """
        name = head_name or self._current_heads()
        if not isinstance(name, str):
            raise HeadNotFound(str(name), tuple(self._heads))
        return self._heads_labels(name) or None

    def _heads_labels(self, name: str) -> dict[int, str]:
        return self._require_head(name).id2label

    def _require_head(self, name: str) -> PredictionHead:
        if name not in self._heads:
            raise HeadNotFound(name, tuple(self._heads))
        head = self._heads[name]
        assert isinstance(head, PredictionHead)
        return head

    def _forget(self, name: str) -> None:
        head = self._require_head(name)
        if (output := head.get_output_embeddings()) is not None:
            bank_of(self).forget_end(output)  # type: ignore[arg-type]
        del self._heads[name]

    def _current_heads(self) -> HeadSetup:
        override = current_override()
        if override is None:
            return self._active_head
        if override.head_setup is not None:
            return parse_heads(override.head_setup)
        named = None if override.activation is None else heads_of(override.activation.setup)
        if named is not None and all(name in self._heads for name in names_in(named)):
            return named
        return self._active_head

    # --- the vocabulary at both ends

    def active_table(self) -> Tensor | None:
        """Return the token embedding that the active head brings, (vocabulary, width)."""
        heads = self._current_heads()
        if not isinstance(heads, str):
            return None
        head = self._require_head(heads)
        output = head.get_output_embeddings() if head.brings_table else None
        return None if output is None else output.weight

    def get_output_embeddings(self) -> nn.Module | None:
        heads = self._active_head
        return self._require_head(heads).get_output_embeddings() if isinstance(heads, str) else None

    def set_output_embeddings(self, module: nn.Linear) -> None:
        heads = self._active_head
        head = self._require_head(heads) if isinstance(heads, str) else None
        if not isinstance(head, LanguageModelingHead):
            raise HeadNotFound(str(heads), tuple(self._heads))
        bank = bank_of(self)  # type: ignore[arg-type]
        bank.forget_end(head.get_output_embeddings())
        head.set_output_embeddings(module)
        bank.end_stream_at(module, invert=True)

    # --- running

    def _forward(
        self, *args: Any, head: Any = None, return_dict: bool | None = None, **kwargs: Any
    ) -> Any:
        setup = self._current_heads() if head is None else parse_heads(head)
        heads = {name: self._require_head(name) for name in names_in(setup)}
        inputs = {**dict(zip(self._base_inputs, args, strict=False)), **kwargs}
        asked = {key: inputs.pop(key) for key in _asked_by(heads) if key in inputs}
        if not heads and inputs.get("labels") is not None:
            raise ConfigError("the model was given labels, but no prediction head is active")
        for one in heads.values():
            inputs = one.prepare(inputs)
        if heads:
            self._complete(inputs, asked, heads)
        outputs: Any = self.base_model(**inputs, return_dict=True)
        if setup is not None:
            bank = bank_of(self)  # type: ignore[arg-type]
            run = Run(bank, self.config, outputs, inputs, asked)
            outputs = run(setup, heads)
        if return_dict is False and isinstance(outputs, ModelOutput):
            return outputs.to_tuple()
        return outputs

    def _complete(
        self, inputs: dict[str, Any], asked: Mapping[str, Any], heads: Mapping[str, Any]
    ) -> None:
        """Add the decoder's input where it follows from the rest, as transformers' heads do."""
        labels = asked.get("labels")
        if "use_cache" in self._base_inputs and any(v is not None for v in asked.values()):
            inputs.setdefault("use_cache", False)
        given = ("decoder_input_ids", "decoder_inputs_embeds")
        if not self.config.is_encoder_decoder or any(inputs.get(k) is not None for k in given):
            return
        writes = any(isinstance(head, LanguageModelingHead) for head in heads.values())
        source = labels if writes else inputs.get("input_ids")
        if source is not None:
            shifted = self.prepare_decoder_input_ids_from_labels(source)  # type: ignore[attr-defined]
            inputs["decoder_input_ids"] = shifted
        elif (heard := inputs.get("input_features")) is not None and not writes:
            start = self.config.decoder_start_token_id
            inputs["decoder_input_ids"] = heard.new_full((len(heard), 1), start).long()

    # --- files

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Return which parameter is which other: projections of heads are the base's embedding.

        Transformers ties them by it when it loads a model that was saved with its heads.
        """
        known: dict[str, str] = super().get_expanded_tied_weights_keys(all_submodels)  # type: ignore[misc]
        named = dict(self.base_model.named_parameters(prefix=self.base_model_prefix))
        names = {id(parameter): name for name, parameter in named.items()}
        parameters = dict(self._heads.named_parameters(prefix="_heads", remove_duplicate=False))
        return known | {key: names[id(parameters[key])] for key in self._tied_projections()}

    @classmethod
    def from_pretrained(cls, source: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a base model; the head that it was saved with becomes one called "default".

        Adapters that `save_pretrained` wrote beside the model are loaded too, not activated. A head
        that has no counterpart among the flexible ones is left out, with a warning.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        names = getattr(kwargs.get("config"), "architectures", None) or [""]
        if renamed := static.renamed_base(names[0], cls.base_model_prefix):
            kwargs.setdefault("key_mapping", renamed)
        model, info = super().from_pretrained(  # type: ignore[misc]
            source, *args, output_loading_info=True, **kwargs
        )
        static.adopt(model, source, kwargs, info["unexpected_keys"])
        whole.load_adapters(model, Path(source, kwargs.get("subfolder") or ""))
        return (model, info) if wants_info else model

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Write the base model and all heads, and its adapters beside it, for `from_pretrained`."""
        state = kwargs.pop("state_dict", None) or self.state_dict()  # type: ignore[attr-defined]
        tied = self._tied_projections()
        kwargs["state_dict"] = {key: value for key, value in state.items() if key not in tied}
        self.config.prediction_heads = self.get_prediction_heads_config()
        try:
            super().save_pretrained(save_directory, *args, **kwargs)
        finally:
            del self.config.prediction_heads

    def _tied_projections(self) -> set[str]:
        """Return the names of the heads' parameters that are the base's."""
        of_base = {id(parameter) for parameter in self.base_model.parameters()}
        named = self._heads.named_parameters(prefix="_heads", remove_duplicate=False)
        return {name for name, parameter in named if id(parameter) in of_base}


def _asked_by(heads: Mapping[str, PredictionHead]) -> set[str]:
    """Return the arguments of a call that are for the heads."""
    return {
        name
        for head in heads.values()
        for name in (*own_inputs(type(head)), *head.get_label_names())
    }
