"""Adapter folders and base models for tests, made without torch: tensors are seeded noise."""

import hashlib
import json
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters_runtime.configs import AdapterConfig, load_config, signature
from adapters_runtime.shapes import BaseDescription, expected_head_tensors, expected_tensors
from registry import strictjson
from registry.schemas import BaseModelIn

Shape = tuple[int, ...]
ITEM = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
REVISION = "0" * 40


def sha(*parts: object) -> str:
    return "sha256:" + hashlib.sha256(repr(parts).encode()).hexdigest()


# --- safetensors ---------------------------------------------------------------------------------


@dataclass
class Tensor:
    dtype: str
    shape: Shape
    data: bytes


def noise(shape: Shape, dtype: str, seed: object) -> Tensor:
    """Return small finite values: no byte of theirs is one of an exponent that is full."""
    count = 1
    for size in shape:
        count *= size
    data = bytearray(random.Random(repr((seed, shape, dtype))).randbytes(count * ITEM[dtype]))
    for last in range(ITEM[dtype] - 1, len(data), ITEM[dtype]):
        data[last] &= 0xBB  # the sign and some of the exponent's bits, never all
    return Tensor(dtype, shape, bytes(data))


def safetensors(tensors: dict[str, Tensor]) -> bytes:
    header, blob = {}, b""
    for name, tensor in tensors.items():
        offsets = [len(blob), len(blob) + len(tensor.data)]
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        blob += tensor.data
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    return struct.pack("<Q", len(text)) + text + blob


# --- bases ---------------------------------------------------------------------------------------


def bert(
    layers: int = 3, width: int = 8, vocabulary: int = 50, kind: str = "bert"
) -> BaseDescription:
    inner = 2 * width
    tensors: dict[str, Shape] = {
        "embeddings.word_embeddings.weight": (vocabulary, width),
        "embeddings.position_embeddings.weight": (32, width),
        "embeddings.LayerNorm.weight": (width,),
        "pooler.dense.weight": (width, width),
    }
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            tensors |= _linear(f"{at}.attention.{part}", width, width)
        tensors |= _linear(f"{at}.intermediate.dense", inner, width)
        tensors |= _linear(f"{at}.output.dense", width, inner)
        tensors[f"{at}.output.LayerNorm.weight"] = (width,)
    config = {"model_type": kind, "hidden_size": width, "num_attention_heads": 2}
    return BaseDescription(kind, config, tensors)


def gpt2(layers: int = 2, width: int = 8, vocabulary: int = 50) -> BaseDescription:
    tensors: dict[str, Shape] = {
        "wte.weight": (vocabulary, width),
        "wpe.weight": (32, width),
        "ln_f.weight": (width,),
    }
    for layer in range(layers):
        at = f"h.{layer}"
        # Conv1D keeps its weights as (in, out).
        tensors[f"{at}.attn.c_attn.weight"] = (width, 3 * width)
        tensors[f"{at}.attn.c_proj.weight"] = (width, width)
        tensors[f"{at}.mlp.c_fc.weight"] = (width, 4 * width)
        tensors[f"{at}.mlp.c_proj.weight"] = (4 * width, width)
    return BaseDescription("gpt2", {"model_type": "gpt2", "n_embd": width, "n_head": 2}, tensors)


def llama(layers: int = 2, width: int = 8, vocabulary: int = 50) -> BaseDescription:
    tensors: dict[str, Shape] = {
        "embed_tokens.weight": (vocabulary, width),
        "norm.weight": (width,),
    }
    for layer in range(layers):
        at = f"layers.{layer}"
        for name, out in (("q", width), ("k", width // 2), ("v", width // 2), ("o", width)):
            tensors[f"{at}.self_attn.{name}_proj.weight"] = (out, width)
        for name in ("gate", "up"):
            tensors[f"{at}.mlp.{name}_proj.weight"] = (2 * width, width)
        tensors[f"{at}.mlp.down_proj.weight"] = (width, 2 * width)
    config = {
        "model_type": "llama",
        "hidden_size": width,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    return BaseDescription("llama", config, tensors)


def _linear(path: str, out: int, inputs: int) -> dict[str, Shape]:
    return {f"{path}.weight": (out, inputs), f"{path}.bias": (out,)}


def registration(base: BaseDescription, name: str = "tiny/bert", seed: object = 0) -> BaseModelIn:
    """Return what registers a base: digests of weights nobody has, of a structure that fits."""
    apart = (*base.architecture.embedding_parameters, *base.architecture.pooler_parameters)
    body = {name: list(shape) for name, shape in base.tensors.items() if not name.startswith(apart)}
    parts = ("body", "embeddings", "tokenizer")
    return BaseModelIn.model_validate(
        {
            "identity": {
                "name": name,
                "revision": REVISION,
                "structure": strictjson.digest(body),
                **{part: sha(name, seed, part, sorted(base.tensors)) for part in parts},
            },
            "config": dict(base.config),
            "tensors": {
                name: {"dtype": "F32", "shape": list(shape)} for name, shape in base.tensors.items()
            },
            "aliases": [
                {"part": part, "dtype": dtype, "digest": sha(name, seed, part, dtype)}
                for part in ("body", "embeddings")
                for dtype in ("F16", "BF16")
            ],
        }
    )


# --- folders -------------------------------------------------------------------------------------

HEAD = {
    "head_type": "classification",
    "layers": 1,
    "activation_function": "tanh",
    "bias": True,
    "num_labels": 2,
    "label2id": {"neg": 0, "pos": 1},
    "use_pooler": False,
    "dropout_prob": None,
}
CARD = "---\nlicense: mit\nlanguage: en\ntags: [a, b]\ntask: ner\n---\n# An adapter\n\nIt adapts.\n"


@dataclass
class Folder:
    """A package in memory, to be changed and then written."""

    tensors: dict[str, Tensor]
    head: dict[str, Tensor]
    documents: dict[str, Any]
    """JSON files."""
    files: dict[str, bytes] = field(default_factory=dict)
    """All others; these go before what the fields above would give."""
    weights: str = "adapter.safetensors"
    """The file of `tensors`."""

    def contents(self) -> dict[str, bytes]:
        made = {path: json.dumps(document).encode() for path, document in self.documents.items()}
        if self.tensors:
            made[self.weights] = safetensors(self.tensors)
        if self.head:
            made["model_head.safetensors"] = safetensors(self.head)
        return made | self.files

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for path, data in self.contents().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder


def make_folder(
    base: BaseDescription,
    config: str | AdapterConfig = "seq_bn[reduction_factor=2]",
    *,
    identity: dict[str, Any] | None = None,
    head: dict[str, Any] | None = None,
    dtype: str = "F32",
    name: str = "mine",
    prefix: bool = True,
    seed: object = 0,
    hub: dict[str, Any] | None = None,
    card: str = CARD,
) -> Folder:
    """Return a folder as save_adapter writes it; `hub` changes fields of hub_adapter.json."""
    parsed = load_config(config)
    start = f"{base.architecture.base_prefix}." if prefix else ""
    tensors = {
        start + key: noise(shape, dtype, (seed, key))
        for key, shape in expected_tensors(name, parsed, base).items()
    }
    common = {
        "name": name,
        "model_type": base.model_type,
        "model_name": "tiny/bert",
        "model_class": "Model",
        "version": "adapters.1.3.0",
    }
    width = base.config.get("hidden_size", base.config.get("n_embd"))
    documents: dict[str, Any] = {
        "adapter_config.json": common | {"config": parsed.to_dict(), "hidden_size": width}
    }
    heads = {}
    if head is not None:
        documents["head_config.json"] = common | {"config": head}
        expected = expected_head_tensors(name, head, base)
        heads = {key: noise(shape, dtype, (seed, key)) for key, shape in expected.items()}
    if identity is not None:
        documents["hub_adapter.json"] = {
            "schema": "hub.adapter/1",
            "kind": "task",
            "base": identity,
            "signature": {
                "slot": "task",
                "language": None,
                "series": None,
                **signature(parsed, len(base.layers)),
            },
            "requires": {},
            "languages": ["en"],
        } | (hub or {})
    return Folder(tensors, heads, documents, {"README.md": card.encode()} if card else {})
