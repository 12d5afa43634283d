"""The methods that add a head, one for each kind, with the names of AdapterHub's library."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec

from adapters_runtime.errors import ConfigError
from adapters_runtime.heads.base import HeadConfig, PredictionHead
from adapters_runtime.heads.registry import Heads, build_head, head_class

Labels = Mapping[int, str] | None


P = ParamSpec("P")


def adds(head_type: str, **fixed: Any) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let a method add the head of a type, whose constructor takes the arguments and what is fixed.

    The method itself only declares them.
    """

    def adding(declared: Callable[P, None]) -> Callable[P, None]:
        signature = inspect.signature(declared)

        @wraps(declared)
        def add(*args: P.args, **kwargs: P.kwargs) -> None:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            _add(head_type, **given.arguments, **fixed)

        return add

    return adding


def _add(head_type: str, self: Any, head_name: str, overwrite_ok: bool, **fields: Any) -> None:
    cls: Any = head_class(self.head_types, self.config.model_type, head_type)
    self.add_prediction_head(cls(self, head_name, **fields), overwrite_ok)


class AddsHeads:
    """Each method raises HeadExists, and UnsupportedHead where the architecture has no such head.

    `id2label` names the classes; the new head becomes the active one.
    """

    config: Any
    head_types: Heads
    custom_heads: dict[str, type[PredictionHead]]

    def add_classification_head(
        self,
        head_name: str,
        num_labels: int = 2,
        layers: int = 2,
        activation_function: str | None = "tanh",
        overwrite_ok: bool = False,
        multilabel: bool = False,
        id2label: Labels = None,
        use_pooler: bool = False,
    ) -> None:
        """Add a head that decides once per sequence: for one class, or for any number of them."""
        _add(
            "multilabel_classification" if multilabel else "classification",
            self,
            head_name,
            overwrite_ok,
            num_labels=num_labels,
            layers=layers,
            activation_function=activation_function,
            id2label=id2label,
            use_pooler=use_pooler,
        )

    @adds("tagging")
    def add_tagging_head(
        self,
        head_name: str,
        num_labels: int = 2,
        layers: int = 1,
        activation_function: str | None = "tanh",
        overwrite_ok: bool = False,
        id2label: Labels = None,
    ) -> None:
        """Add a head that decides once per token."""

    @adds("question_answering")
    def add_qa_head(
        self,
        head_name: str,
        num_labels: int = 2,
        layers: int = 1,
        activation_function: str | None = "tanh",
        overwrite_ok: bool = False,
        id2label: Labels = None,
    ) -> None:
        """Add a head that finds where an answer begins and ends."""

    @adds("multiple_choice")
    def add_multiple_choice_head(
        self,
        head_name: str,
        num_choices: int = 2,
        layers: int = 2,
        activation_function: str | None = "tanh",
        overwrite_ok: bool = False,
        id2label: Labels = None,
        use_pooler: bool = False,
    ) -> None:
        """Add a head that picks one of several sequences, given as (batch, choices, length)."""

    @adds("dependency_parsing")
    def add_dependency_parsing_head(
        self,
        head_name: str,
        num_labels: int = 2,
        overwrite_ok: bool = False,
        id2label: Labels = None,
    ) -> None:
        """Add a biaffine parser over words; see `heads.dependency_parsing`."""

    @adds("image_classification")
    def add_image_classification_head(
        self,
        head_name: str,
        num_labels: int = 2,
        layers: int = 1,
        activation_function: str | None = "tanh",
        overwrite_ok: bool = False,
        multilabel: bool = False,
        id2label: Labels = None,
        use_pooler: bool = False,
    ) -> None:
        """Add a head that decides once per image."""

    @adds("audio_classification")
    def add_audio_classification_head(
        self,
        head_name: str,
        num_labels: int = 2,
        layers: int = 2,
        activation_function: str | None = "tanh",
        overwrite_ok: bool = False,
        id2label: Labels = None,
    ) -> None:
        """Add a head that decides once per recording."""

    @adds("masked_lm")
    def add_masked_lm_head(
        self,
        head_name: str,
        activation_function: str | None = "gelu",
        layers: int = 2,
        overwrite_ok: bool = False,
    ) -> None:
        """Add BERT's masked language modelling head."""

    @adds("causal_lm", layer_norm=True, bias=True)
    def add_causal_lm_head(
        self,
        head_name: str,
        activation_function: str | None = "gelu",
        layers: int = 2,
        overwrite_ok: bool = False,
    ) -> None:
        """Add a head that predicts the next token."""

    @adds("seq2seq_lm")
    def add_seq2seq_lm_head(
        self, head_name: str, layers: int = 1, overwrite_ok: bool = False
    ) -> None:
        """Add a head that predicts the next token of the decoder's text."""

    # --- heads of one's own

    def register_custom_head(self, identifier: str, head: type[PredictionHead]) -> None:
        """Make a kind of head known to this model under the type `identifier`.

        Register it before a head of this type is loaded. See `heads.base.PredictionHead`.
        """
        self.custom_heads[identifier] = head

    def add_custom_head(
        self,
        head_type: str,
        head_name: str,
        overwrite_ok: bool = False,
        set_active: bool = True,
        **kwargs: Any,
    ) -> None:
        """Add a head of a registered type; `kwargs` are its constructor's."""
        cls = head_class(self.custom_heads, self.config.model_type, head_type)
        head = cls(self, head_name, **kwargs)  # type: ignore[arg-type, call-arg]
        head.config = {**kwargs, **head.config, "head_type": head_type}
        self.add_prediction_head(head, overwrite_ok, set_active)

    # --- heads of any kind

    def add_prediction_head_from_config(
        self,
        head_name: str,
        config: HeadConfig,
        overwrite_ok: bool = False,
        set_active: bool = True,
    ) -> None:
        """Add a head of any type from its configuration (head_config.json's field `config`)."""
        self.add_prediction_head(self.new_head(head_name, config), overwrite_ok, set_active)

    def new_head(self, head_name: str, config: HeadConfig) -> PredictionHead:
        """Build a head that fits this model, without adding it."""
        if not isinstance(config, Mapping):
            raise ConfigError(f"the configuration of a head has fields, and is not {config!r}")
        known = {**self.head_types, **self.custom_heads}
        cls = head_class(known, self.config.model_type, config.get("head_type"))
        head: PredictionHead = build_head(cls, self, head_name, config)
        head.config = {**head.config, "head_type": config["head_type"]}
        return head

    def add_prediction_head(
        self, head: PredictionHead, overwrite_ok: bool = False, set_active: bool = True
    ) -> None:
        raise NotImplementedError
