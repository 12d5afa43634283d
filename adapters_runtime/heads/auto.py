"""The classes with flexible heads: `AutoAdapterModel`, and one per architecture by its name.

They are made when they are first asked for, from transformers' own: BertModel gives
BertAdapterModel.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)

from adapters_runtime.architectures import ARCHITECTURES, PAIR
from adapters_runtime.derive import derived_architecture
from adapters_runtime.errors import ConfigError, UnsupportedArchitecture, UnsupportedHead
from adapters_runtime.generated import made_class
from adapters_runtime.heads.base import IGNORED, own_inputs
from adapters_runtime.heads.flexible import FlexibleHeads
from adapters_runtime.heads.language_modeling import LanguageModelingHead
from adapters_runtime.heads.registry import Heads, offered_heads
from adapters_runtime.heads.static import WHERE
from adapters_runtime.inject.named import NamedModules
from adapters_runtime.model import attach_bank

_SUFFIX = "AdapterModel"
_OLD_SUFFIX = "ModelWithHeads"
_OF_WEIGHTS = ("dtype", "torch_dtype", "quantization_config")
"""Options that mean something else in a configuration: `auto`, or what its weights already are."""


class AutoAdapterModel:
    """Builds the class with flexible heads that fits a configuration."""

    def __init__(self) -> None:
        raise TypeError("use AutoAdapterModel.from_pretrained(...) or .from_config(...)")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a base model; see `FlexibleHeads.from_pretrained`."""
        config = kwargs.pop("config", None)
        if config is None:
            config, kwargs = _configuration(pretrained_model_name_or_path, kwargs)
        model_class: Any = adapter_model_class(base_class_for(config))
        return model_class.from_pretrained(
            pretrained_model_name_or_path, *args, config=config, **kwargs
        )

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> Any:
        """Build a model of random weights."""
        return adapter_model_class(base_class_for(config))(config)


def _configuration(source: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return a configuration, changed as the options say, and the options of the weights."""
    where = {key: options[key] for key in WHERE if key in options}
    kept = {key: options[key] for key in (*WHERE, *_OF_WEIGHTS) if key in options}
    rest = {key: value for key, value in options.items() if key not in kept}
    config, unused = AutoConfig.from_pretrained(source, return_unused_kwargs=True, **where, **rest)
    return config, unused | kept


class _ByConfiguration(Mapping[Any, Any]):
    """Configuration class -> class with flexible heads, which is made when it is asked for."""

    def __getitem__(self, config_class: Any) -> Any:
        if config_class not in self._known():
            raise KeyError(config_class)
        found: Any = MODEL_MAPPING[config_class]
        return adapter_model_class(found[0] if isinstance(found, tuple) else found)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def _known(self) -> list[Any]:
        return [CONFIG_MAPPING[name] for name in ARCHITECTURES if name in CONFIG_MAPPING]


ADAPTER_MODEL_MAPPING = _ByConfiguration()


def base_class_for(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return transformers' class without a head; raises UnsupportedArchitecture, ConfigError."""
    if config.model_type == PAIR:
        raise ConfigError(
            "a pair of encoder and decoder has the head of its decoder, and transformers no class "
            "without: use load_model(..., EncoderDecoderModel), or call init(model) on one"
        )
    if type(config) not in MODEL_MAPPING:
        raise UnsupportedArchitecture(config.model_type, sorted(ARCHITECTURES))
    found: Any = MODEL_MAPPING[type(config)]
    base_class: type[PreTrainedModel] = found[0] if isinstance(found, tuple) else found
    return base_class


def adapter_model_class(base_class: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Return the class with flexible heads over a base class: BertModel gives BertAdapterModel."""
    return made_class(_with_heads, base_class)


def class_by_name(name: str) -> Any:
    """Return `BertAdapterModel` and its like, or None when there is no such class.

    `BertModelWithHeads`, as the first releases called it, is found too, with a warning.
    """
    stem = name.removesuffix(_OLD_SUFFIX)
    if stem == name:
        return _class_called(name)
    found = AutoAdapterModel if stem == "Auto" else _class_called(stem + _SUFFIX)
    if found is not None:
        # The reader is two calls away: the import statement, and the package's __getattr__.
        message = f"{name} is deprecated: use {stem}{_SUFFIX}"
        warnings.warn(message, FutureWarning, stacklevel=3)
    return found


def _class_called(name: str) -> Any:
    known = transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES
    for model_type in ARCHITECTURES:
        base_name = known.get(model_type)
        if isinstance(base_name, str) and _adapter_name(base_name) == name:
            return adapter_model_class(getattr(transformers, base_name))
    return None


def _adapter_name(base_name: str) -> str:
    return base_name.removesuffix("Model").removesuffix("Encoder") + _SUFFIX


def _with_heads(base_class: Any) -> type:
    family = [c for c in base_class.__mro__ if issubclass(c, PreTrainedModel)][-2]
    prefix = base_class.base_model_prefix
    offered = _offered_by(base_class)

    def __init__(self: Any, config: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:  # noqa: N807  (becomes the method)
        family.__init__(self, config, *args, **kwargs)
        setattr(self, prefix, base_class(config))
        self._heads = NamedModules()
        self._active_head = None
        self.custom_heads = {}
        attach_bank(self)
        for name, head_config in (getattr(config, "prediction_heads", None) or {}).items():
            try:
                self.add_prediction_head_from_config(name, head_config)
            except UnsupportedHead as error:
                message = (
                    f"the head {name!r} was left out: {error}. Call register_custom_head on the "
                    "model and load the head from a folder of its own (save_head, load_head)"
                )
                warnings.warn(message, UserWarning, stacklevel=2)
        self.post_init()

    parents: tuple[type, ...] = (FlexibleHeads, family)
    if any(issubclass(head, LanguageModelingHead) for head in offered.values()):
        parents = (FlexibleHeads, GenerationMixin, family)
    body = {
        "__module__": __name__,
        "__init__": __init__,
        "forward": _signed(base_class.forward, offered),
        "_base_inputs": tuple(inspect.signature(base_class.forward).parameters)[1:],
        **_borrowed(base_class.config_class),
    }
    return type(_adapter_name(base_class.__name__), parents, body)


def _offered_by(base_class: Any) -> Heads:
    architecture = ARCHITECTURES.get(base_class.config_class.model_type)
    if architecture is None:
        architecture = derived_architecture(base_class, base_class.config_class())
    return offered_heads(architecture)


def _borrowed(config_class: Any) -> dict[str, Any]:
    """Return how transformers' own class makes a decoder's input from labels."""
    name = "prepare_decoder_input_ids_from_labels"
    for mapping in (MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING):
        if config_class in mapping:
            return {name: getattr(mapping[config_class], name, _moved_by_one)}
    return {}


def _moved_by_one(self: Any, labels: Tensor) -> Tensor:
    """Do as Whisper does, whose class has no method for it: (rows, tokens) to (rows, tokens)."""
    start = labels.new_full((len(labels), 1), self.config.decoder_start_token_id)
    moved = torch.cat([start, labels[:, :-1]], dim=1)
    return moved.masked_fill(moved == IGNORED, self.config.pad_token_id)


def _signed(base_forward: Callable[..., Any], offered: Heads) -> Callable[..., Any]:
    """Give `_forward` the signature of the base and of its heads.

    From it the Trainer learns which columns to keep, and `generate` what it may pass.
    """

    def forward(self: FlexibleHeads, *args: Any, **kwargs: Any) -> Any:
        return self._forward(*args, **kwargs)

    signature = inspect.signature(base_forward)
    parameters = signature.parameters.values()
    asked = dict.fromkeys(name for head in offered.values() for name in own_inputs(head))
    # The Trainer takes every argument with "label" in its name for one that each batch must have.
    rare = [name for name in asked if "label" in name and name != "labels"]
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in (*asked, "head")
        if name not in signature.parameters and name not in rare
    ]
    catch_all = [p for p in parameters if p.kind is p.VAR_KEYWORD]
    plain = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    forward.__signature__ = signature.replace(parameters=[*plain, *extra, *catch_all])  # type: ignore[attr-defined]
    return forward
