"""Which base model this is, by what it holds rather than by what it is called.

Names are mirrored and reused, so a base is known by digests: `structure` of the names and shapes of
its body, `body` and `embeddings` of the values, `tokenizer` of the tokenizer's file. The body is
what stands between embeddings and heads; buffers, poolers and heads belong to neither.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime import merging
from adapters_runtime.errors import MergeStateError
from adapters_runtime.inject.bank import ATTRIBUTE, bank_of, base_of

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
CASTS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class BaseIdentity:
    """Digests read `sha256:<hex>`; `tokenizer` is None when no tokenizer is at hand."""

    name: str | None
    revision: str | None
    structure: str
    body: str
    embeddings: str
    tokenizer: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def base_identity(
    model: nn.Module, tokenizer: Any = None, *, name: str | None = None, revision: str | None = None
) -> BaseIdentity:
    """Identify the base of an initialised model by its parameters in memory.

    `tokenizer` is a tokenizer or the path of a tokenizer.json; without it the file beside the
    model's weights is used, if there is one. Hashing reads every parameter once and is remembered
    until one changes. Raises MergeStateError while an adapter is merged into the weights.
    """
    bank = bank_of(model)
    if (merged := merging.merged(bank)) is not None:
        raise MergeStateError(
            f"the base cannot be identified while {merged!r} is merged into it; "
            "call reset_adapter() first"
        )
    source = getattr(model, "name_or_path", "") or None
    body, embeddings = _digests(model, None)
    return BaseIdentity(
        name=name or public_name(source),
        revision=revision or getattr(model.config, "_commit_hash", None),
        structure=structure_digest(model),
        body=body,
        embeddings=embeddings,
        tokenizer=tokenizer_digest(tokenizer or source),
    )


def structure_digest(model: nn.Module) -> str:
    """Digest of the names and shapes of the body's parameters; a cast does not change it."""
    index = {name: list(tensor.shape) for name, tensor in _split(model)[0]}
    return _digest_json(index)


def aliases(model: nn.Module) -> list[dict[str, str]]:
    """Return the digests that the same weights have in the other floating point types."""
    dtype = next(base_of(model).parameters()).dtype
    found = []
    for other in CASTS:
        if other is not dtype:
            for part, digest in zip(("body", "embeddings"), _digests(model, other), strict=True):
                found.append({"part": part, "dtype": DTYPES[other], "digest": digest})
    return found


def tensor_index(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Return {name: {dtype, shape}} of the base's parameters, tied ones under their first name."""
    return {
        name: {"dtype": DTYPES.get(tensor.dtype, str(tensor.dtype)), "shape": list(tensor.shape)}
        for name, tensor in base_parameters(model)
    }


def tokenizer_digest(tokenizer: Any) -> str | None:
    """Digest of a tokenizer's normalised tokenizer.json, or None when it has none.

    Padding and truncation are settings of a call, so they do not count.
    """
    if tokenizer is None:
        return None
    if isinstance(tokenizer, str | Path):
        path = Path(tokenizer)
        path = path / "tokenizer.json" if path.is_dir() else path
        if path.name != "tokenizer.json" or not path.is_file():
            return None
        document = json.loads(path.read_text("utf-8"))
    else:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        document = json.loads(backend.to_str())
    for call_setting in ("padding", "truncation"):
        document.pop(call_setting, None)
    return _digest_json(document)


def base_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the base's own parameters by their names relative to it, tied ones once."""
    for name, parameter in base_of(model).named_parameters():
        if not name.startswith(f"{ATTRIBUTE}."):
            yield name, parameter


def _split(
    model: nn.Module,
) -> tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]]:
    """Return the parameters of the body and of the embeddings."""
    architecture = bank_of(model).architecture
    body, embeddings = [], []
    for name, parameter in base_parameters(model):
        role = architecture.role_of(name)
        if role == "body":
            body.append((name, parameter))
        elif role == "embeddings":
            embeddings.append((name, parameter))
    return body, embeddings


def _digests(model: nn.Module, dtype: torch.dtype | None) -> tuple[str, str]:
    """Return the digests of body and embeddings, as if cast to `dtype`."""
    memory = _memory(model)
    if dtype not in memory:
        body, embeddings = _split(model)
        memory[dtype] = (_multiset(body, dtype), _multiset(embeddings, dtype))
    return memory[dtype]


def _memory(model: nn.Module) -> dict[torch.dtype | None, tuple[str, str]]:
    """Return the digests known of the parameters as they are; a change of one forgets them."""
    bank = bank_of(model)
    state = tuple((p.data_ptr(), p._version, p.dtype) for _, p in base_parameters(model))  # noqa: SLF001  (torch's only change counter)
    if bank.identity_memory is None or bank.identity_memory[0] != state:
        bank.identity_memory = (state, {})
    memory: dict[torch.dtype | None, tuple[str, str]] = bank.identity_memory[1]
    return memory


def _multiset(parameters: Iterable[tuple[str, Tensor]], dtype: torch.dtype | None) -> str:
    # Sorted and without names, so that a renamed or re-sharded checkpoint stays the same base.
    digests = sorted(_tensor_digest(tensor, dtype) for _, tensor in parameters)
    return _digest_json(digests)


def _tensor_digest(tensor: Tensor, dtype: torch.dtype | None) -> str:
    tensor = tensor.detach().to(dtype or tensor.dtype).cpu().contiguous()
    digest = hashlib.sha256()
    digest.update(f"{DTYPES.get(tensor.dtype, tensor.dtype)}{list(tensor.shape)}".encode())
    values: Any = tensor.view(-1).view(torch.uint8).numpy()
    digest.update(values)
    return digest.hexdigest()


def _digest_json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def public_name(source: str | None) -> str | None:
    """Return what others may call the base: a path of this machine means nothing to them."""
    if source is None:
        return None
    path = Path(source)
    if not path.exists():
        return source
    return (path.resolve() if path.name in ("", "..") else path).name
