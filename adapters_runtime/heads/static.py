"""The head that a checkpoint of transformers carries, as a flexible head.

Which of its tensors is which follows from their shapes: the projection gives as many numbers as
there are labels, or tokens; a square map before it is the hidden layer, a vector after that one its
norm. Only the activation between them is not in the tensors.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from adapters_runtime.architectures import Architecture
from adapters_runtime.heads.base import HeadConfig, PredictionHead
from adapters_runtime.heads.language_modeling import LanguageModelingHead
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io import files
from adapters_runtime.shapes import head_type_of

WHERE = ("cache_dir", "revision", "subfolder", "token", "local_files_only")
"""Options of `from_pretrained` that say where its files are."""

NAME = "default"
"""How the head of a checkpoint is called."""

_OF_TOKENS = frozenset({"masked_lm", "causal_lm", "seq2seq_lm"})
_CLASSIFIER_ACTIVATIONS = {
    "distilbert": "relu",
    "electra": "gelu",
    "deberta": "gelu",
    "deberta-v2": "gelu",
}
"""Between the hidden layer and the projection; tanh in all others."""


@dataclass(frozen=True)
class StaticHead:
    """A head as transformers saved it."""

    class_name: str
    """The class of the model, `BertForSequenceClassification`."""
    tensors: Mapping[str, Tensor]
    """Its tensors by the names in that class; those of the base may be among them."""
    labels: Mapping[str, int] | None = None
    num_labels: int | None = None


class NotConvertible(Exception):
    """Why a static head has no counterpart."""


def convert(model: Any, name: str, static: StaticHead) -> PredictionHead | None:
    """Return the flexible head, not added to the model; None, with a warning, if there is none."""
    try:
        return _convert(model, name, static)
    except NotConvertible as reason:
        warnings.warn(
            f"the head of {static.class_name} was left out: {reason}", UserWarning, stacklevel=2
        )
        return None


def adopt(model: Any, source: Any, options: Mapping[str, Any], unexpected: Iterable[str]) -> None:
    """Give a model that was just loaded the head of its checkpoint, if that had one."""
    names = getattr(model.config, "architectures", None) or [""]
    if head_type_of(names[0]) is None or model.heads:
        return
    wanted = set(unexpected)
    state = options.get("state_dict")
    tensors = _chosen(state, wanted) if state else read_checkpoint(source, wanted, options)
    static = StaticHead(names[0], tensors, model.config.label2id, model.config.num_labels)
    if (head := convert(model, NAME, static)) is not None:
        model.add_prediction_head(head)


def renamed_base(class_name: str, prefix: str) -> dict[str, str]:
    """Return how to rename a checkpoint's keys where its class calls the base by another name.

    LLaMA's question answering model calls it `transformer`, all others of LLaMA `model`.
    """
    static_class = getattr(transformers, class_name, None)
    other = getattr(static_class, "base_model_prefix", prefix)
    return {} if not other or other == prefix else {rf"^{other}\.": f"{prefix}."}


def _convert(model: Any, name: str, static: StaticHead) -> PredictionHead:
    kind = head_type_of(static.class_name)
    if kind is None or kind not in model.head_types:
        offered = ", ".join(model.head_types) or "none"
        raise NotConvertible(f"no flexible head stands for it (there are: {offered})")
    if kind in _OF_TOKENS and getattr(model.config, "final_logit_softcapping", None):
        raise NotConvertible("it bounds its logits, which no flexible head does")
    layout = _Layout(model, kind, static)
    head: PredictionHead = model.new_head(name, layout.config())
    layout.fill(head)
    return head


class _Layout:
    """The parts of a static head: hidden layer, norm, projection."""

    def __init__(self, model: Any, kind: str, static: StaticHead) -> None:
        self.model = model
        self.kind = kind
        self.static = static
        self.architecture: Architecture = bank_of(model).architecture
        text = model.config.get_text_config()
        self.outputs = self._count_outputs(text)
        parts = _modules(static.tensors)
        self.projection = _last(
            parts, lambda weight: weight.dim() == 2 and len(weight) == self.outputs
        )
        hidden = {key: p for key, p in parts.items() if p is not self.projection}
        width = text.hidden_size
        self.dense = _last(hidden, lambda weight: weight.dim() == 2 and weight.shape[1] == width)
        self.norm = _last(hidden, lambda weight: weight.dim() == 1)
        self._check(width)

    def _count_outputs(self, text: Any) -> int:
        if self.kind in _OF_TOKENS:
            return int(text.vocab_size)
        if self.kind == "multiple_choice":
            return 1
        if self.kind == "question_answering":
            return 2  # where an answer begins and ends, whatever labels there are
        return int(self.static.num_labels or len(self.static.labels or ()) or 2)

    def _check(self, width: int) -> None:
        if self.norm is not None and self.kind not in _OF_TOKENS:
            raise NotConvertible("it has a norm, which no flexible head of its type has")
        if self.projection is None and self.kind not in _OF_TOKENS:
            raise NotConvertible(f"none of its maps gives {self.outputs} numbers")
        if self.kind not in _OF_TOKENS and self.dense and len(self.dense["weight"]) != width:
            raise NotConvertible(f"its hidden layer is not as wide as the base, {width}")

    def config(self) -> HeadConfig:
        """Return the configuration of the flexible head."""
        config: HeadConfig = {
            "head_type": self.kind,
            "layers": 1 if self.dense is None else 2,
            "activation_function": None if self.dense is None else self._activation(),
        }
        if self.kind in _OF_TOKENS:
            bias = self._token_bias()
            return {**config, "layer_norm": self.norm is not None, "bias": bias is not None}
        if self.kind in ("classification", "image_classification"):
            assert self.projection is not None
            config["bias"] = "bias" in self.projection
        if self.kind in ("classification", "multiple_choice"):
            config["use_pooler"] = self._pools()
        count = "num_choices" if self.kind == "multiple_choice" else "num_labels"
        named = self.static.labels or {}
        config[count] = self.outputs if count == "num_labels" else max(2, len(named))
        return {**config, "label2id": dict(named) if len(named) == config[count] else None}

    def fill(self, head: PredictionHead) -> None:
        """Copy the tensors into a head that was built from `config`."""
        linear = [module for module in head if isinstance(module, nn.Linear)]
        norms = [module for module in head if isinstance(module, nn.LayerNorm)]
        if self.dense is not None:
            _copy(self.dense, linear[0])
        if self.norm is not None:
            _copy(self.norm, norms[0])
        if not isinstance(head, LanguageModelingHead):
            assert self.projection is not None
            _copy(self.projection, linear[-1], self._factor())
            return
        self._fill_projection(linear[-1])

    def _fill_projection(self, output: nn.Linear) -> None:
        """Copy what projects to the vocabulary; it stays tied while it equals the embedding."""
        if (bias := self._token_bias()) is not None:
            output.bias.data.copy_(bias)
        weight = None if self.projection is None else self.projection["weight"]
        if weight is None or torch.equal(weight.to(output.weight), output.weight.detach()):
            return
        output.weight = nn.Parameter(output.weight.detach().clone())
        output.weight.data.copy_(weight)

    def _token_bias(self) -> Tensor | None:
        """Return the bias over the vocabulary, which several models keep under other names."""
        for tensor in self.static.tensors.values():
            vector = tensor.squeeze(0) if tensor.dim() == 2 and len(tensor) == 1 else tensor
            # BART's is a buffer of zeros in nearly all checkpoints.
            if vector.shape == (self.outputs,) and (tensor.dim() == 1 or vector.any()):
                return vector
        return None

    def _factor(self) -> float:
        """Undo the scaling of the decoder's output, which only a projection to tokens has."""
        config: Any = self.model.config
        scaled = getattr(config, "scale_decoder_outputs", False)
        return float(config.d_model**0.5) if scaled and self.kind == "question_answering" else 1.0

    def _pools(self) -> bool:
        """Return whether the pooler stands between the base and a single layer."""
        encoder = [stack.role for stack in self.architecture.stacks] == ["encoder"]
        return encoder and self.dense is None and bool(self.architecture.pooler_parameters)

    def _activation(self) -> str:
        if self.kind not in _OF_TOKENS:
            return _CLASSIFIER_ACTIVATIONS.get(self.model.config.model_type, "tanh")
        names = ("classifier_activation", "hidden_act", "activation", "hidden_activation")
        found = (getattr(self.model.config, name, None) for name in names)
        return str(next((name for name in found if name), "gelu"))


def _modules(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group tensors by their module, in the order of the file."""
    modules: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        path, _, parameter = key.rpartition(".")
        modules.setdefault(path, {})[parameter] = tensor
    return {path: parts for path, parts in modules.items() if "weight" in parts}


def _last(modules: Mapping[str, dict[str, Tensor]], fits: Any) -> dict[str, Tensor] | None:
    return next((p for p in reversed(list(modules.values())) if fits(p["weight"])), None)


@torch.no_grad()
def _copy(parts: Mapping[str, Tensor], module: Any, factor: float = 1.0) -> None:
    """Fill a module; a bias that the static head does not have is zero."""
    module.weight.copy_(parts["weight"] * factor if factor != 1.0 else parts["weight"])
    if module.bias is not None:
        module.bias.zero_() if "bias" not in parts else module.bias.copy_(parts["bias"])


def _chosen(state: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    return {_respelled(key): t for key, t in state.items() if _respelled(key) in wanted}


def _respelled(key: str) -> str:
    # As TensorFlow called them; transformers renames them when it loads.
    return key.replace(".gamma", ".weight").replace(".beta", ".bias")


def read_checkpoint(source: Any, wanted: set[str], options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return tensors of a checkpoint by name: a folder's or a hub's, in one file or several."""
    if not wanted:
        return {}
    found: dict[str, Tensor] = {}
    for path in _weight_files(source, options):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                keys = [key for key in file.keys() if _respelled(key) in wanted]  # noqa: SIM118  (it is no mapping)
                found |= {_respelled(key): file.get_tensor(key) for key in keys}
        else:
            found |= _chosen(files.read_tensors(path), wanted)
    return found


def _weight_files(source: Any, options: Mapping[str, Any]) -> list[Path]:
    """Return the weight files; transformers has fetched them already."""
    where = {key: options[key] for key in WHERE if key in options}

    def find(name: str) -> Path | None:
        found = cached_file(
            source,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **where,
        )
        return None if found is None else Path(found)

    for name in ("model.safetensors", "pytorch_model.bin"):
        if (single := find(name)) is not None:
            return [single]
        if (index := find(f"{name}.index.json")) is not None:
            shards = set(files.read_json(index)["weight_map"].values())
            return [path for shard in sorted(shards) if (path := find(shard)) is not None]
    return []
