"""The methods that add a head, one for each kind, with the names of AdapterHub's library."""

from collections.abc import Mapping
from typing import Any

from adapters_runtime.heads.base import HeadConfig, PredictionHead
from adapters_runtime.heads.registry import Heads, build_head, head_class

Labels = Mapping[int, str] | None


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
        self._add(
            "multilabel_classification" if multilabel else "classification",
            head_name,
            overwrite_ok,
            num_labels=num_labels,
            layers=layers,
            activation_function=activation_function,
            id2label=id2label,
            use_pooler=use_pooler,
        )

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
        self._add(
            "tagging",
            head_name,
            overwrite_ok,
            num_labels=num_labels,
            layers=layers,
            activation_function=activation_function,
            id2label=id2label,
        )

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
        self._add(
            "question_answering",
            head_name,
            overwrite_ok,
            num_labels=num_labels,
            layers=layers,
            activation_function=activation_function,
            id2label=id2label,
        )

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
        self._add(
            "multiple_choice",
            head_name,
            overwrite_ok,
            num_choices=num_choices,
            layers=layers,
            activation_function=activation_function,
            id2label=id2label,
            use_pooler=use_pooler,
        )

    def add_dependency_parsing_head(
        self,
        head_name: str,
        num_labels: int = 2,
        overwrite_ok: bool = False,
        id2label: Labels = None,
    ) -> None:
        """Add a biaffine parser over words; see `heads.dependency_parsing`."""
        self._add(
            "dependency_parsing",
            head_name,
            overwrite_ok,
            num_labels=num_labels,
            id2label=id2label,
        )

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
        self._add(
            "image_classification",
            head_name,
            overwrite_ok,
            num_labels=num_labels,
            layers=layers,
            activation_function=activation_function,
            multilabel=multilabel,
            id2label=id2label,
            use_pooler=use_pooler,
        )

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
        self._add(
            "audio_classification",
            head_name,
            overwrite_ok,
            num_labels=num_labels,
            layers=layers,
            activation_function=activation_function,
            id2label=id2label,
        )

    def add_masked_lm_head(
        self,
        head_name: str,
        activation_function: str | None = "gelu",
        layers: int = 2,
        overwrite_ok: bool = False,
    ) -> None:
        """Add BERT's masked language modelling head."""
        self._add(
            "masked_lm",
            head_name,
            overwrite_ok,
            activation_function=activation_function,
            layers=layers,
        )

    def add_causal_lm_head(
        self,
        head_name: str,
        activation_function: str | None = "gelu",
        layers: int = 2,
        overwrite_ok: bool = False,
    ) -> None:
        """Add a head that predicts the next token."""
        self._add(
            "causal_lm",
            head_name,
            overwrite_ok,
            activation_function=activation_function,
            layers=layers,
            layer_norm=True,
            bias=True,
        )

    def add_seq2seq_lm_head(
        self, head_name: str, layers: int = 1, overwrite_ok: bool = False
    ) -> None:
        """Add a head that predicts the next token of the decoder's text."""
        self._add("seq2seq_lm", head_name, overwrite_ok, layers=layers)

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
        known = {**self.head_types, **self.custom_heads}
        cls = head_class(known, self.config.model_type, config.get("head_type"))
        head: PredictionHead = build_head(cls, self, head_name, config)
        head.config = {**head.config, "head_type": config["head_type"]}
        return head

    def _add(self, head_type: str, head_name: str, overwrite_ok: bool, **fields: Any) -> None:
        cls = head_class(self.head_types, self.config.model_type, head_type)
        self.add_prediction_head(cls(self, head_name, **fields), overwrite_ok)  # type: ignore[arg-type, call-arg]

    def add_prediction_head(
        self, head: PredictionHead, overwrite_ok: bool = False, set_active: bool = True
    ) -> None:
        raise NotImplementedError
