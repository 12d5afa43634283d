"""Reading the folder of token embeddings: one matrix, and the tokenizer whose tokens its rows are.

The tokenizer decides which row stands for which text, so it belongs to the content. It is known by
the digest by which a base's tokenizer is known: of tokenizer.json without the settings of a call.
"""

import hashlib
import json
from typing import Any

from adapters_runtime.shapes import BaseDescription
from registry.adapterhub import Contents
from registry.packages import Check, Package
from registry.schemas import Signature
from registry.structure import Weights, read_weights

WEIGHTS = "embedding.safetensors"
TOKENIZER = "tokenizer/tokenizer.json"
TENSOR = "weight"
LARGEST_TOKENIZER = 64 << 20

_CALL_SETTINGS = ("padding", "truncation")


def read(
    package: Package, _document: object, base: BaseDescription | None, check: Check
) -> Contents:
    """Read the folder and compare its one tensor with the base and with the tokenizer."""
    weights = read_weights(package, WEIGHTS, check)
    shape = None if weights is None else _shape(weights, base, check)
    tokenizer, tokens = _tokenizer(package, check)
    if shape is not None and tokens > shape[0]:
        text = f"has {tokens:,} tokens, but there are only {shape[0]:,} vectors"
        check.problem(TOKENIZER, text)
    rows, width = shape or (None, None)
    return Contents(
        layout="adapterhub",
        kind="embedding",
        method="embedding",
        configuration={"rows": rows, "width": width, "tokenizer": tokenizer},
        model_type=base.model_type if base else None,
        signature=Signature(method="embedding", layers=(), points=()),
        head=None,
        weights=(WEIGHTS,),
        local_names=(),
    )


def _shape(weights: Weights, base: BaseDescription | None, check: Check) -> tuple[int, int] | None:
    for name in weights.tensors:
        if name != TENSOR:
            check.problem(WEIGHTS, f"tensor {name!r}: is not expected beside {TENSOR!r}")
    if TENSOR not in weights.tensors:
        check.problem(WEIGHTS, f"tensor {TENSOR!r}: is missing")
        return None
    shape = weights.tensors[TENSOR].shape
    own = base.token_embedding if base is not None else None
    if len(shape) != 2 or (own is not None and shape[1] != own[1]):
        wanted = f"[tokens, {own[1]}]" if own is not None else "[tokens, width]"
        check.problem(
            WEIGHTS, f"tensor {TENSOR!r}: has shape {list(shape)}, the base calls for {wanted}"
        )
        return None
    return shape[0], shape[1]


def _tokenizer(package: Package, check: Check) -> tuple[str | None, int]:
    """Return the digest of the tokenizer and the number of rows it needs; None, 0 without one."""
    if TOKENIZER not in package:
        check.warn(TOKENIZER, "is missing: nobody can tell which text a row stands for")
        return None, 0
    document: dict[str, Any] = {}
    with check.noting():
        document = package.read_json(TOKENIZER, limit=LARGEST_TOKENIZER)
    known = {key: value for key, value in document.items() if key not in _CALL_SETTINGS}
    text = json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest(), _rows(document)


def _rows(tokenizer: dict[str, Any]) -> int:
    """Return one more than the highest id that a tokenizer gives, as far as its file tells."""
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    added = tokenizer.get("added_tokens")
    entries = (
        [each.get("id") for each in added if isinstance(each, dict)]
        if isinstance(added, list)
        else []
    )
    if isinstance(vocabulary, dict):
        entries += vocabulary.values()
    elif isinstance(vocabulary, list):
        entries.append(len(vocabulary) - 1)
    return max((entry for entry in entries if type(entry) is int), default=-1) + 1
