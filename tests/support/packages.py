"""Adapter folders as `save_adapter` writes them, for a tiny BERT, made without torch.

base(...)       the document hub_base.json: identity, configuration and tensor index
language(...)   a bottleneck with invertible parts, for one language
task(...)       a bottleneck with a classification head, trained on top of a language adapter
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

HIDDEN, LAYERS, FEED_FORWARD, VOCABULARY, POSITIONS = 32, 2, 48, 97, 64
SCHEMA = "hub.adapter/1"


def digest(text: object) -> str:
    return "sha256:" + hashlib.sha256(str(text).encode()).hexdigest()


# --- the base ------------------------------------------------------------------------------------


def base(name: str = "tiny-bert", *, hidden: int = HIDDEN) -> dict[str, Any]:
    """Return a base's registration. Another `hidden` is another structure, a name other weights."""
    body = _body_shapes(hidden)
    embeddings = {
        "embeddings.word_embeddings.weight": [VOCABULARY, hidden],
        "embeddings.position_embeddings.weight": [POSITIONS, hidden],
        "embeddings.token_type_embeddings.weight": [2, hidden],
        "embeddings.LayerNorm.weight": [hidden],
        "embeddings.LayerNorm.bias": [hidden],
    }
    shapes = embeddings | body
    return {
        "identity": {
            "name": name,
            "revision": "0" * 40,
            "structure": _structure(body),
            "body": digest(f"body of {name}"),
            "embeddings": digest(f"embeddings of {name}"),
            "tokenizer": digest(f"tokenizer of {name}"),
        },
        "config": {
            "model_type": "bert",
            "hidden_size": hidden,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "intermediate_size": FEED_FORWARD,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": POSITIONS,
        },
        "tensors": {key: {"dtype": "F32", "shape": shape} for key, shape in shapes.items()},
        "aliases": [],
    }


def _body_shapes(hidden: int) -> dict[str, list[int]]:
    maps = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (FEED_FORWARD, hidden),
        "output.dense": (hidden, FEED_FORWARD),
    }
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    shapes: dict[str, list[int]] = {}
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        for path, (rows, columns) in maps.items():
            shapes |= {f"{at}.{path}.weight": [rows, columns], f"{at}.{path}.bias": [rows]}
        for path in norms:
            shapes |= {f"{at}.{path}.weight": [hidden], f"{at}.{path}.bias": [hidden]}
    return shapes


def _structure(body: Mapping[str, list[int]]) -> str:
    compact = json.dumps(dict(body), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(compact.encode()).hexdigest()


# --- adapters ------------------------------------------------------------------------------------


def language(folder: Path, tag: str = "qu", *, reduction: int = 4, **changes: Any) -> Path:
    """Write a language adapter. `changes` replace fields of hub_adapter.json."""
    name = "lang"
    width = HIDDEN // reduction
    half = HIDDEN // 2
    tensors = _bottlenecks(name, width, seed=tag)
    for part in ("F", "G"):
        at = f"bert.invertible_adapters.{name}.{part}"
        tensors |= _linear(f"{at}.0", half // 2, half, tag) | _linear(
            f"{at}.2", half, half // 2, tag
        )
    about = {
        "kind": "language",
        "signature": _signature("lang", method="seq_bn", invertible="nice", language=tag),
        "languages": [tag],
        "datasets": [{"name": "wikipedia", "config": tag}],
    }
    configuration = _configuration(reduction, inv_adapter="nice", inv_adapter_reduction_factor=2)
    return _write(folder, name, tensors, configuration, about | changes)


def task(
    folder: Path, *, reduction: int = 4, seed: object = 0, labels: tuple[str, ...] = ("no", "yes"),
    partner: str | None = "nice", **changes: Any,
) -> Path:  # fmt: skip
    """Write a task adapter. `partner` is the invertible kind it was trained on; None: alone."""
    name = "task"
    tensors = _bottlenecks(name, HIDDEN // reduction, seed=seed)
    wanted = _signature("lang", method="seq_bn", invertible=partner, language="en")
    about = {
        "kind": "task",
        "signature": _signature("task", method="seq_bn"),
        "requires": {} if partner is None else {"lang": {"signature": wanted}},
        "setup": "task" if partner is None else {"Stack": ["lang", "task"]},
        "languages": ["en"],
        "datasets": [{"name": "super_glue", "config": "copa", "split": "train"}],
    }
    _write(folder, name, tensors, _configuration(reduction), about | changes)
    _write_head(folder, name, labels, seed)
    return folder


def _signature(slot: str, **fields: Any) -> dict[str, Any]:
    known = {"layers": list(range(LAYERS)), "points": ["output"], "invertible": None}
    return known | {"slot": slot, "rows": False, "language": None, "series": None} | fields


def _configuration(reduction: int, **changes: Any) -> dict[str, Any]:
    return {
        "mh_adapter": False,
        "output_adapter": True,
        "reduction_factor": reduction,
        "non_linearity": "relu",
        "original_ln_before": True,
        "original_ln_after": True,
        "residual_before_ln": True,
    } | changes


def _bottlenecks(name: str, width: int, *, seed: object) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    for layer in range(LAYERS):
        at = f"bert.encoder.layer.{layer}.output.adapters.{name}"
        tensors |= _linear(f"{at}.adapter_down.0", width, HIDDEN, seed)
        tensors |= _linear(f"{at}.adapter_up", HIDDEN, width, seed)
    return tensors


def _linear(at: str, rows: int, columns: int, seed: object) -> dict[str, np.ndarray]:
    number = int(digest((at, seed))[7:23], 16)
    random = np.random.default_rng(number)
    weight = random.normal(0, 0.02, (rows, columns)).astype("float32")
    return {f"{at}.weight": weight, f"{at}.bias": np.zeros(rows, dtype="float32")}


def _write(
    folder: Path,
    name: str,
    tensors: Mapping[str, np.ndarray],
    configuration: Mapping[str, Any],
    about: Mapping[str, Any],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    own_base = about.get("base") or base()
    fields = {"requires": {}, "setup": None, "training": {}} | dict(about)
    fields |= {"schema": SCHEMA, "base": own_base["identity"]}
    write_json(folder / "hub_adapter.json", fields)
    write_json(folder / "hub_base.json", own_base)
    write_json(folder / "adapter_config.json", _frame(name) | {"config": dict(configuration)})
    save_file(dict(tensors), folder / "adapter.safetensors")
    return folder


def _write_head(folder: Path, name: str, labels: tuple[str, ...], seed: object) -> None:
    configuration = {
        "head_type": "classification",
        "num_labels": len(labels),
        "layers": 2,
        "activation_function": "tanh",
        "bias": True,
        "dropout_prob": None,
        "use_pooler": False,
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    write_json(folder / "head_config.json", _frame(name) | {"config": configuration})
    at = f"heads.{name}"
    tensors = _linear(f"{at}.1", HIDDEN, HIDDEN, seed) | _linear(
        f"{at}.4", len(labels), HIDDEN, seed
    )
    save_file(tensors, folder / "model_head.safetensors")


def _frame(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model_type": "bert",
        "model_class": "BertAdapterModel",
        "model_name": "tiny-bert",
        "hidden_size": HIDDEN,
        "version": "adapters.1.3.0",
    }


def write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Replace top-level fields of a document."""
    write_json(path, json.loads(path.read_text("utf-8")) | changes)
