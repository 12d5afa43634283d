"""Models whose heads are added, switched and removed like adapters: `AutoAdapterModel`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils.generic import ModelOutput

from adapters_runtime.context import current_override
from adapters_runtime.errors import HeadExists, HeadNotFound
from adapters_runtime.generated import made_class
from adapters_runtime.heads.layers import HEADS, HeadConfig, PredictionHead
from adapters_runtime.heads.own_table import LookUpOwnTable
from adapters_runtime.heads.summary import summarise
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.named import NamedModules
from adapters_runtime.model import AdapterMethods, attach_bank


class FlexibleHeads(AdapterMethods):
    """What a model with flexible heads has beside adapters."""

    config: Any
    base_model: nn.Module

    @property
    def heads(self) -> dict[str, PredictionHead]:
        return {name: self._heads[name] for name in self._heads}  # type: ignore[attr-defined]

    @property
    def active_head(self) -> str | None:
        """The head in use; None returns the base model's own output."""
        override = current_override()
        if override is not None and override.head_setup is not None:
            return str(override.head_setup)
        return self._active_head

    @active_head.setter
    def active_head(self, name: str | None) -> None:
        if name is not None:
            self._require_head(name)
        self._active_head: str | None = name

    def set_active_adapters(self, adapter_setup: Any, skip_layers: Any = None) -> None:
        """Activate a set-up, and the head that is called like its last adapter, if there is one."""
        super().set_active_adapters(adapter_setup, skip_layers)
        setup = self.active_adapters
        if setup is not None and setup.last() in self._heads:  # type: ignore[attr-defined]
            self._active_head = setup.last()

    # --- adding heads

    def add_classification_head(
        self,
        head_name: str,
        num_labels: int = 2,
        layers: int = 2,
        activation_function: str = "tanh",
        overwrite_ok: bool = False,
        multilabel: bool = False,
        id2label: dict[int, str] | None = None,
        use_pooler: bool = False,
    ) -> None:
        """Add a head that decides once per sequence."""
        head_type = "multilabel_classification" if multilabel else "classification"
        config = {
            "head_type": head_type,
            "num_labels": num_labels,
            "layers": layers,
            "activation_function": activation_function,
            "label2id": _label2id(num_labels, id2label),
            "use_pooler": use_pooler,
            "bias": True,
            "dropout_prob": None,
        }
        self.add_prediction_head_from_config(head_name, config, overwrite_ok)

    def add_tagging_head(
        self,
        head_name: str,
        num_labels: int = 2,
        layers: int = 1,
        activation_function: str = "tanh",
        overwrite_ok: bool = False,
        id2label: dict[int, str] | None = None,
    ) -> None:
        """Add a head that decides once per token."""
        config = {
            "head_type": "tagging",
            "num_labels": num_labels,
            "layers": layers,
            "activation_function": activation_function,
            "label2id": _label2id(num_labels, id2label),
            "dropout_prob": None,
        }
        self.add_prediction_head_from_config(head_name, config, overwrite_ok)

    def add_masked_lm_head(
        self, head_name: str, activation_function: str = "gelu", overwrite_ok: bool = False
    ) -> None:
        """Add BERT's masked language modelling head, tied to the token embedding."""
        config = {
            "head_type": "masked_lm",
            "layers": 2,
            "activation_function": activation_function,
            "layer_norm": True,
            "bias": True,
            "shift_labels": False,
            "label2id": None,
            "vocab_size": self.config.vocab_size,
            "embedding_size": getattr(self.config, "embedding_size", self.config.hidden_size),
        }
        self.add_prediction_head_from_config(head_name, config, overwrite_ok)

    def add_prediction_head_from_config(
        self, head_name: str, config: HeadConfig, overwrite_ok: bool = False
    ) -> None:
        """Add a head of any type from its configuration (head_config.json's field `config`)."""
        self.add_prediction_head(self.new_head(head_name, config), overwrite_ok)

    def new_head(self, head_name: str, config: HeadConfig) -> PredictionHead:
        """Build a head that fits this model, tied where it should be, without adding it."""
        head_type = str(config.get("head_type"))
        if head_type not in HEADS:
            raise HeadNotFound(head_type, tuple(HEADS))
        head = HEADS[head_type].build(head_name, config, self.config)
        near = next(self.base_model.parameters())
        head = head.to(near.device, near.dtype).train(self.training)  # type: ignore[attr-defined]
        output = head.output_embedding()
        embedding = self.get_input_embeddings()  # type: ignore[attr-defined]
        if output is not None and output.weight.shape == embedding.weight.shape:
            output.weight = embedding.weight
        return head

    def add_prediction_head(self, head: PredictionHead, overwrite_ok: bool = False) -> None:
        """Add a head and make it the active one; raises HeadExists."""
        heads: NamedModules = self._heads  # type: ignore[attr-defined]
        if head.name in heads:
            if not overwrite_ok:
                raise HeadExists(head.name)
            del heads[head.name]
        heads[head.name] = head
        if (output := head.output_embedding()) is not None:
            bank_of(self).end_stream_at(output, invert=True)  # type: ignore[arg-type]
        if head.brings_table:
            # First, so that own rows of an adapter go before the head's table.
            lookup = self.get_input_embeddings()  # type: ignore[attr-defined]
            lookup.register_forward_hook(LookUpOwnTable(self), prepend=True)
        self._active_head = head.name

    def active_table(self) -> Tensor | None:
        """Return the token embedding that the active head brings, (vocabulary, width)."""
        name = self.active_head
        head = None if name is None else self._require_head(name)
        output = head.output_embedding() if head is not None and head.brings_table else None
        return None if output is None else output.weight

    def delete_head(self, head_name: str) -> None:
        self._require_head(head_name)
        del self._heads[head_name]  # type: ignore[attr-defined]
        if self._active_head == head_name:
            self._active_head = None

    def get_labels(self, head_name: str | None = None) -> list[str]:
        return list(self.get_labels_dict(head_name).values())

    def get_labels_dict(self, head_name: str | None = None) -> dict[int, str]:
        """Return {index: label} of a head, by default the active one."""
        name = head_name or self.active_head
        return {} if name is None else self._require_head(name).id2label

    def _require_head(self, name: str) -> PredictionHead:
        heads: NamedModules = self._heads  # type: ignore[attr-defined]
        if name not in heads:
            raise HeadNotFound(name, tuple(heads))
        head = heads[name]
        assert isinstance(head, PredictionHead)
        return head

    # --- running

    def get_output_embeddings(self) -> nn.Module | None:
        name = self._active_head
        return None if name is None else self._require_head(name).output_embedding()

    def set_output_embeddings(self, module: nn.Module) -> None:
        raise NotImplementedError("the output embedding is tied to the input embedding")

    def _forward(
        self, *args: Any, labels: Tensor | None = None, head: str | None = None, **kwargs: Any
    ) -> ModelOutput:
        outputs = self.base_model(*args, **{**kwargs, "return_dict": True})
        name = head or self.active_head
        if name is None:
            return outputs  # type: ignore[no-any-return]
        hidden = outputs[0]
        input_ids = kwargs.get("input_ids", args[0] if args else None)
        architecture = bank_of(self).architecture  # type: ignore[arg-type]
        summary = summarise(architecture, self.config, hidden, input_ids)
        predicted = self._require_head(name).predict(hidden, summary, labels)
        for key in ("hidden_states", "attentions", "past_key_values"):
            if hasattr(predicted, key) and outputs.get(key) is not None:
                predicted[key] = outputs[key]
        return predicted


def _label2id(num_labels: int, id2label: dict[int, str] | None) -> dict[str, int]:
    labels = id2label or {index: f"LABEL_{index}" for index in range(num_labels)}
    return {label: index for index, label in labels.items()}


def adapter_model_class(base_class: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Return the class with flexible heads over a base class: BertModel gives BertAdapterModel."""
    return made_class(_with_heads, base_class)


def _with_heads(base_class: Any) -> type:
    family = [c for c in base_class.__mro__ if issubclass(c, PreTrainedModel)][-2]
    prefix = base_class.base_model_prefix

    def __init__(self: Any, config: PreTrainedConfig) -> None:  # noqa: N807  (becomes the method)
        family.__init__(self, config)
        setattr(self, prefix, base_class(config))
        self._heads = NamedModules()
        self._active_head = None
        attach_bank(self)
        self.post_init()

    body = {
        "__module__": __name__,
        "__init__": __init__,
        "forward": _signed(base_class.forward),
    }
    name = base_class.__name__.removesuffix("Model") + "AdapterModel"
    return type(name, (FlexibleHeads, family), body)


def _signed(base_forward: Callable[..., Any]) -> Callable[..., Any]:
    """Give `_forward` the base's signature, from which the Trainer learns which columns to keep."""

    def forward(self: FlexibleHeads, *args: Any, **kwargs: Any) -> ModelOutput:
        return self._forward(*args, **kwargs)

    signature = inspect.signature(base_forward)
    parameters = [p for p in signature.parameters.values() if p.name != "labels"]
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("labels", "head")
    ]
    catch_all = [p for p in parameters if p.kind is p.VAR_KEYWORD]
    plain = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    forward.__signature__ = signature.replace(parameters=[*plain, *extra, *catch_all])  # type: ignore[attr-defined]
    return forward


class AutoAdapterModel:
    """Builds the class with flexible heads that fits a configuration."""

    def __init__(self) -> None:
        raise TypeError("use AutoAdapterModel.from_pretrained(...) or .from_config(...)")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a base model, without the head it may have been saved with."""
        config = kwargs.pop("config", None) or AutoConfig.from_pretrained(
            pretrained_model_name_or_path
        )
        model_class = cls._class_for(config)
        return model_class.from_pretrained(
            pretrained_model_name_or_path, *args, config=config, **kwargs
        )

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> Any:
        """Build a model of random weights."""
        return cls._class_for(config)(config)

    @staticmethod
    def _class_for(config: PreTrainedConfig) -> type[PreTrainedModel]:
        with torch.device("meta"):
            base_class = type(AutoModel.from_config(config))
        return adapter_model_class(base_class)
