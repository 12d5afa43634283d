"""Bodies of `/api/v1`: versions, base models, set-ups, errors."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from registry.schemas.base import Document, State
from registry.schemas.documents import BaseIdentity, Need, Options, TensorEntry
from registry.schemas.scores import ScoreOut


class ErrorBody(BaseModel):
    """Every error of `/api/v1`; `error` repeats `message` for Hub clients."""

    code: str
    message: str
    error: str
    hint: str | None = None
    request: str | None = None
    """The request's id, by which an operator finds it in the log."""
    problems: list[str] = []
    reasons: dict[str, list[str]] = {}
    choices: dict[str, list[str]] = {}
    use: str | None = None


class FileOut(BaseModel):
    path: str
    size: int
    sha256: str


class PublishIn(Document):
    """`POST /api/v1/adapters/{owner}/{name}/versions`: number an uploaded revision."""

    revision: str
    """A revision id, or the branch it was uploaded to (`incoming/<id>`)."""
    number: str | None = None
    """None: the next right number."""


class VersionOut(BaseModel):
    name: str
    number: str
    ref: str
    revision: str
    content: str
    state: State
    successor: str | None = None
    reason: str | None = None
    """Why it is not live."""
    published_at: datetime
    published_by: str
    kind: str | None = None
    method: str | None = None
    language: str | None = None
    base_name: str | None = None
    size: int
    url: str
    created: bool = True
    """False when the same content was published under this number before."""
    warnings: list[str] = []


class VersionDetail(VersionOut):
    manifest: dict[str, Any]
    files: list[FileOut]


class StateIn(Document):
    """`PATCH /api/v1/adapters/{owner}/{name}/versions/{number}`: move a version to a state."""

    state: State
    successor: str | None = None
    """A reference to what to use instead; for deprecated and yanked versions."""
    reason: str | None = None


class TensorChangeOut(BaseModel):
    file: str
    name: str
    change: str
    before: TensorEntry | None
    after: TensorEntry | None


class DiffOut(BaseModel):
    """Answer of `GET /api/v1/diff`: what differs between two versions."""

    before: str
    after: str
    summary: str
    fields: list[str]
    """Parts of the manifest that affect outputs or contract, beside the tensors."""
    tensors: list[TensorChangeOut]
    files: dict[str, str]


class AdapterOut(BaseModel):
    name: str
    visibility: str
    downloads: int
    created_at: datetime
    updated_at: datetime
    latest: VersionOut | None = None
    versions: list[VersionOut] = []
    scores: list["ScoreOut"] = []
    external: dict[str, Any] | None = None
    """What is known of an adapter whose weights are elsewhere."""


class BaseModelIn(Document):
    """`POST /api/v1/base-models`: identity, config, tensor index; no weights leave the client."""

    identity: BaseIdentity
    config: dict[str, Any]
    tensors: dict[str, dict[str, Any]]
    aliases: list[dict[str, str]] = Field(default_factory=list)
    """{"part": "body" | "embeddings", "dtype", "digest"} of the float16 and bfloat16 casts."""


class BaseModelOut(BaseModel):
    identity: BaseIdentity
    model_type: str
    registered_at: datetime
    adapters: int = 0
    config: dict[str, Any] | None = None
    """With `tensors`, what an adapter folder is checked against; sent when asked for."""
    tensors: dict[str, dict[str, Any]] | None = None


class FitsIn(Document):
    """`POST /api/v1/base-models/fits`: a registered base's name or body digest, or an identity."""

    base: str | BaseIdentity


class FitOut(BaseModel):
    """An adapter that can stand on a base model, or nearly so."""

    name: str
    number: str
    kind: str | None
    method: str | None
    language: str | None
    fit: Literal["fits", "near", "unsure"]
    """`near` loads and was trained on something else; `unsure` says too little to tell."""
    reason: str
    """In words."""


class Resolution(BaseModel):
    """Answer of `POST /api/v1/resolve` and `/api/v1/swap`."""

    lock: dict[str, Any]
    digest: str
    why: dict[str, Any]
    """Per slot: the chosen reference, why, and per rejected candidate the reason in words."""
    warnings: list[str] = []


class SwapIn(Document):
    """`POST /api/v1/swap`: a lock, and new contents for some slots; the others stay pinned."""

    lock: dict[str, Any]
    slots: dict[str, str | Need]
    options: Options = Options()
