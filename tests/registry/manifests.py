"""Manifests made by hand, for tests of what is decided from manifests alone."""

import hashlib

from registry.schemas import ManifestDocument


def digest(text):
    return "sha256:" + hashlib.sha256(str(text).encode()).hexdigest()


def tensor(seed, shape=(4, 8), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "digest": digest((seed, shape, dtype))}


def signature(**changes):
    return {
        "slot": "task",
        "method": "seq_bn",
        "layers": [0, 1, 2, 3],
        "points": ["output"],
        "invertible": None,
        "rows": False,
        "language": None,
        "series": None,
    } | changes


def head(**changes):
    return {
        "type": "classification",
        "outputs": 2,
        "labels": ["neg", "pos"],
        "configuration": {"layers": 1, "num_labels": 2},
    } | changes


def manifest(**changes):
    """Return a task adapter with a head, which was trained on a language adapter."""
    fields = {
        "schema": "hub.manifest/1",
        "layout": "adapterhub",
        "kind": "task",
        "method": "seq_bn",
        "configuration": {"architecture": None, "reduction_factor": 16, "non_linearity": "relu"},
        "model_type": "bert",
        "base": {
            "name": "bert-base",
            "revision": "0" * 40,
            "structure": digest("structure"),
            "body": digest("body"),
            "embeddings": digest("embeddings"),
            "tokenizer": digest("tokenizer"),
        },
        "signature": signature(),
        "requires": {
            "lang": {"signature": signature(slot="lang", invertible="nice", language="en")}
        },
        "setup": {"Stack": ["lang", "task"]},
        "head": head(),
        "languages": ["en"],
        "datasets": [],
        "training": {},
        "card": {"title": "A", "summary": "", "licence": "mit", "tasks": [], "tags": []},
        "files": {
            "README.md": {"sha256": "0" * 64, "size": 1},
            "adapter.safetensors": {"sha256": "1" * 64, "size": 2},
        },
        "tensors": {
            "adapter.safetensors": {"down": tensor(1), "up": tensor(2)},
            "model_head.safetensors": {"heads.*.1.weight": tensor(3)},
        },
    }
    return ManifestDocument.model_validate(fields | changes)
