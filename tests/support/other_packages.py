"""Folders of the kinds beside adapters in AdapterHub's layout, made without torch."""

import json
import random
from typing import Any

from adapters_runtime.configs import AdapterFusionConfig
from adapters_runtime.shapes import BaseDescription, fusion_tensors_at
from tests.support.packages import HEAD, Folder, make_folder, noise

FUSIONS = ("static", "dynamic")
PLACES = ({"output_adapter"}, {"mh_adapter", "output_adapter"})


def _description(base: BaseDescription, name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "model_type": base.model_type,
        "model_name": "tiny/bert",
        "version": "adapters.1.3.0",
    } | fields


def _hub(kind: str, **fields: Any) -> dict[str, Any]:
    offered = {"slot": kind, "method": kind, "layers": [], "points": []}
    usual = {"schema": "hub.adapter/1", "kind": kind, "base": {"name": "tiny/bert"}}
    return usual | {"signature": offered} | fields


def fusion(base: BaseDescription, rng: random.Random, dtype: str) -> Folder:
    config = AdapterFusionConfig.load(rng.choice(FUSIONS))
    members = ["a", "b", "c"][: rng.choice((2, 3))]
    name = rng.choice(("mix", ",".join(members)))
    sites = {site.key for layer in base.layers for site in layer.stack.sites}
    wanted = [places for places in PLACES if places <= sites]
    start = f"{base.architecture.base_prefix}." if rng.random() < 0.8 else ""
    expected = fusion_tensors_at(name, config, rng.choice(wanted), base)
    tensors = {start + key: noise(shape, dtype, key) for key, shape in expected.items()}
    document = _description(base, name, config=config.to_dict(), adapter_names=members)
    documents = {"adapter_fusion_config.json": document}
    if rng.random() < 0.7:
        requires = {member: {"signature": {"method": "seq_bn"}} for member in members}
        layers = list(range(len(base.layers)))
        documents["hub_adapter.json"] = _hub(
            "fusion",
            signature={"slot": "fuse", "method": "fusion", "layers": layers},
            requires=requires,
            setup={"Fuse": members, "layer": name},
        )
    return Folder(tensors, {}, documents, weights="model_adapter_fusion.safetensors")


def head(base: BaseDescription, rng: random.Random, dtype: str) -> Folder:
    made = make_folder(base, head=HEAD | {"layers": rng.choice((1, 2))}, dtype=dtype)
    documents = {"head_config.json": made.documents["head_config.json"]}
    if rng.random() < 0.7:
        documents["hub_adapter.json"] = _hub("head")
    return Folder(made.head, {}, documents, weights="model_head.safetensors")


def embedding(base: BaseDescription, rng: random.Random, dtype: str) -> Folder:
    shape = base.token_embedding
    assert shape is not None
    rows = rng.choice((8, 60))
    vocabulary = {f"w{number}": number for number in range(rows)}
    tokenizer = {"model": {"type": "WordLevel", "vocab": vocabulary}, "added_tokens": []}
    return Folder(
        {"weight": noise((rows, shape[1]), dtype, rows)},
        {},
        {"hub_adapter.json": _hub("embedding"), "tokenizer/tokenizer.json": tokenizer},
        weights="embedding.safetensors",
    )


def peft(base: BaseDescription, rng: random.Random, dtype: str) -> Folder:
    """Return a LoRA as PEFT saves it, at the linear maps of one name."""
    paths = {
        name.removesuffix(".weight")
        for name, shape in base.tensors.items()
        if name.endswith(".weight") and len(shape) == 2 and name.count(".") > 2
    }
    paths -= {path for path in paths if path.startswith(base.architecture.pooler_parameters)}
    target, rank = rng.choice(sorted({path.rpartition(".")[2] for path in paths})), 2
    tensors = {}
    for path in sorted(paths):
        if path.rpartition(".")[2] == target:
            shape = base.tensors[f"{path}.weight"]
            out, into = shape[::-1] if base.keeps_turned(path) else shape
            at = f"base_model.model.{base.architecture.base_prefix}.{path}"
            tensors[f"{at}.lora_A.weight"] = noise((rank, into), dtype, path)
            tensors[f"{at}.lora_B.weight"] = noise((out, rank), dtype, path)
    document = {
        "peft_type": "LORA",
        "base_model_name_or_path": "tiny/bert",
        "r": rank,
        "lora_alpha": 4,
        "target_modules": [target],
    }
    documents = {"adapter_config.json": document}
    return Folder(tensors, {}, documents, weights="adapter_model.safetensors")


def whole_setup(base: BaseDescription, rng: random.Random, dtype: str) -> Folder:
    """Return two adapters and the document that stacks them."""
    parts = {
        slot: make_folder(base, "seq_bn[reduction_factor=2]", name=slot, dtype=dtype, seed=slot)
        for slot in ("lang", "task")
    }
    files = {
        f"{slot}/{path}": data
        for slot, part in parts.items()
        for path, data in part.contents().items()
    }
    tree = {"type": "Stack", "children": [{"type": "single", "children": [slot]} for slot in parts]}
    del files["task/adapter.safetensors"]
    files["adapter_setup.json"] = json.dumps({"adapter_setup": tree, "head_setup": None}).encode()
    return Folder(parts["task"].tensors, {}, {}, files, weights="task/adapter.safetensors")


KINDS = {
    "fusion": fusion,
    "head": head,
    "embedding": embedding,
    "peft": peft,
    "setup": whole_setup,
}
