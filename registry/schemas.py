"""The documents we exchange: files in a folder, recipes and locks, and the bodies of `/api/v1`.

Shared by the server and the command line; imports nothing but pydantic. Documents that are digested
(`Lock`, `HubAdapterFile`) forbid unknown fields, so that a misspelt one is an error, not a silence.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
RevisionId = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Kind = Literal["task", "language", "fusion", "head", "embedding", "setup"]
State = Literal["live", "deprecated", "yanked", "quarantined", "removed"]


class Document(BaseModel):
    """A document whose unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- hub_adapter.json: what the runtime writes beside the weights -------------------------------


class BaseIdentity(Document):
    """A base model by digests (DESIGN.md, "Base identity")."""

    name: str | None = None
    revision: str | None = None
    structure: Digest | None = None
    body: Digest | None = None
    embeddings: Digest | None = None
    tokenizer: Digest | None = None


class Signature(Document):
    """What an adapter offers to its partners. None means unknown."""

    slot: str | None = None
    method: str | None = None
    layers: tuple[int, ...] | None = None
    points: tuple[str, ...] | None = None
    invertible: Literal["nice", "glow"] | None = None
    rows: bool = False
    language: str | None = None
    series: str | None = None


class Requirement(Document):
    """A copy of the signature of a partner in training, and how to find that partner."""

    signature: Signature
    drop_layers: tuple[int, ...] = ()
    ref: str | None = None
    content: Digest | None = None


class Dataset(Document):
    name: str
    config: str | None = None
    split: str | None = None


class HubAdapterFile(Document):
    """`hub_adapter.json`."""

    format: Literal["hub.adapter/1"] = Field("hub.adapter/1", alias="schema")
    kind: Kind | None = None
    base: BaseIdentity
    signature: Signature
    requires: dict[str, Requirement] = {}
    setup: dict[str, Any] | str | None = None
    languages: tuple[str, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    training: dict[str, Any] = {}


# --- the manifest: what the server derives from a folder that it found to be an adapter ----------


class FileEntry(Document):
    sha256: str
    size: int


class TensorEntry(Document):
    """One tensor of a weights file. `digest` covers type, shape and values, not the name."""

    dtype: str
    shape: tuple[int, ...]
    digest: Digest


class HeadEntry(Document):
    """The prediction head that comes with the adapter."""

    type: str | None
    outputs: int | None
    """How many classes, or rows of its last layer; None where that says nothing."""
    labels: tuple[str, ...] | None
    """By class index; None when they have no names."""
    configuration: dict[str, Any]


class CardFields(Document):
    """What the front matter of README.md says."""

    title: str = ""
    summary: str = ""
    licence: str | None = None
    tasks: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class ManifestDocument(Document):
    """Holds neither name nor number: the same files give the same manifest wherever they are."""

    format: Literal["hub.manifest/1"] = Field("hub.manifest/1", alias="schema")
    layout: Literal["adapterhub", "peft"]
    kind: Kind | None
    method: str
    configuration: dict[str, Any]
    """With every default filled in."""
    model_type: str | None
    base: BaseIdentity
    signature: Signature
    requires: dict[str, Requirement] | None
    """None: the folder does not say, so partners can only be guessed."""
    setup: dict[str, Any] | str | None
    head: HeadEntry | None
    languages: tuple[str, ...]
    datasets: tuple[Dataset, ...]
    training: dict[str, Any]
    card: CardFields
    files: dict[str, FileEntry]
    tensors: dict[str, dict[str, TensorEntry]]
    """Weights file -> tensor -> entry. `*` stands where a name holds the adapter's local name."""


# --- recipes and locks ---------------------------------------------------------------------------


class Need(Document):
    """A slot described by what it must be, rather than by name."""

    language: str | None = None
    kind: Kind | None = None
    task: str | None = None
    series: str | None = None


class Options(Document):
    strict: bool = False
    allow_base_mismatch: bool = False
    licences: tuple[str, ...] | None = None
    runtime: str = "1"


class Recipe(Document):
    """What a user asks for."""

    format: Literal["hub.recipe/1"] = Field("hub.recipe/1", alias="schema")
    base: str | BaseIdentity | None = None
    """A registered name (`name`, `name@revision`) or an identity; None: that of pinned slots."""
    slots: dict[str, str | Need]
    setup: dict[str, Any] | str
    head: str | list[Any] | dict[str, Any] | None = None
    options: Options = Options()


class LoadOptions(Document):
    leave_out: tuple[int, ...] = ()


class LockedSlot(Document):
    """One pinned adapter. `files` maps path to {"sha256", "size"}."""

    ref: str
    content: Digest
    revision: RevisionId
    files: dict[str, dict[str, Any]]
    load: LoadOptions = LoadOptions()


class Lock(Document):
    """What a machine loads: the recipe with every slot pinned. No times, no URLs."""

    format: Literal["hub.lock/1"] = Field("hub.lock/1", alias="schema")
    base: BaseIdentity
    slots: dict[str, LockedSlot]
    setup: dict[str, Any] | str
    head: str | list[Any] | dict[str, Any] | None = None


# --- /api/v1 --------------------------------------------------------------------------------------


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
    aliases: list[dict[str, str]] = []
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


# --- scores --------------------------------------------------------------------------------------


class MetricOut(BaseModel):
    """How to read a metric's values; a bound that is None does not exist."""

    name: str
    title: str
    higher_is_better: bool
    unit: str
    lower: float | None
    upper: float | None
    aliases: list[str] = []


class MetricIn(Document):
    """`PUT /api/v1/metrics/{name}`."""

    title: str = Field(min_length=1, max_length=100)
    higher_is_better: bool
    unit: str = Field("fraction", min_length=1, max_length=16)
    lower: float | None = Field(None, allow_inf_nan=False)
    upper: float | None = Field(None, allow_inf_nan=False)
    aliases: tuple[str, ...] = ()


class TaskIn(Document):
    """`PUT /api/v1/tasks/{name}`. `metric` is the usual one."""

    title: str = Field(min_length=1, max_length=100)
    metric: str | None = None


class TaskOut(BaseModel):
    name: str
    title: str
    metric: str | None


class DatasetIn(Document):
    """`PUT /api/v1/datasets/{name}`."""

    title: str = Field(min_length=1, max_length=200)
    task: str | None = None
    url: str | None = Field(None, max_length=500, pattern=r"^https?://")


class DatasetOut(BaseModel):
    name: str
    title: str
    task: str | None
    url: str | None


class EvaluatorKeyIn(Document):
    """`POST /api/v1/evaluators`: an ed25519 public key of the caller, 32 bytes in hexadecimal."""

    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    label: str = Field(min_length=1, max_length=100)


class EvaluatorKeyOut(BaseModel):
    key: str
    account: str
    label: str
    registered_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
    revoked_at: datetime | None = None


class ExternalSubject(Document):
    """A configuration on a base, measured elsewhere (`score_subjects.external_digest`)."""

    format: Literal["hub.external/1"] = Field("hub.external/1", alias="schema")
    source: str = Field(min_length=1, max_length=64)
    """Where it was found, such as `adapterhub`."""
    name: str = Field(min_length=1, max_length=200)
    variant: str | None = None
    base: str = Field(min_length=1, max_length=200)
    configuration: dict[str, Any]
    url: str | None = Field(None, max_length=500, pattern=r"^https?://")


class VerificationIn(Document):
    """What makes a score verified: whose key signed it, and the evidence that was sent before."""

    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    evidence: Digest
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")
    """Of `statements.statement`, in hexadecimal."""


class ScoreIn(Document):
    subject: Digest
    lock: dict[str, Any] | None = None
    """The set-up's lock when `subject` is a set-up digest not recorded before."""
    external: ExternalSubject | None = None
    """What was measured, when an imported score's weights are not here."""
    dataset: str
    config: str | None = None
    split: str = "test"
    language: str | None = None
    metric: str
    value: float
    n: int | None = Field(None, ge=1)
    stderr: float | None = Field(None, ge=0)
    conditions: dict[str, Any] = {}
    source: Literal["reported", "imported", "verified"] = "reported"
    supersedes: int | None = None
    """The caller's own score of the same thing that this one replaces."""
    verification: VerificationIn | None = None


class RetractionIn(Document):
    reason: str = Field(min_length=1, max_length=2000)


class ScoreOut(BaseModel):
    id: int
    subject: str
    slots: dict[str, str] = {}
    """Slot -> reference, when the subject is a set-up."""
    ref: str | None = None
    """A version that has the content, when the subject is one."""
    external: ExternalSubject | None = None
    dataset: str
    config: str | None
    split: str
    language: str | None
    metric: str
    higher_is_better: bool
    unit: str
    value: float
    n: int | None
    stderr: float | None
    conditions: dict[str, Any]
    source: str
    reported_by: str
    reported_at: datetime
    superseded_by: int | None = None
    retracted_at: datetime | None = None
    retracted_by: str | None = None
    retraction_reason: str | None = None
    evaluator_key: str | None = None
    evidence: str | None = None
    signature: str | None = None
    key_revoked: bool = False
    """The evaluator's key was revoked since; the score no longer counts as verified."""

    @property
    def stands(self) -> bool:
        return self.retracted_at is None and self.superseded_by is None

    @property
    def verified(self) -> bool:
        return self.source == "verified" and not self.key_revoked


class BoardKey(BaseModel):
    """What the scores of one leaderboard have in common, but for their conditions."""

    dataset: str
    config: str | None = None
    split: str = "test"
    language: str | None = None
    metric: str


class BoardOut(BoardKey):
    """One leaderboard of the list."""

    higher_is_better: bool
    unit: str
    scores: int
    verified: int
    best: float


class BoardEntry(BaseModel):
    rank: int
    """Among the verified, or among the others of its group; equal values share one."""
    score: ScoreOut


class BoardGroup(BaseModel):
    """Scores at the same conditions, which alone can be compared. Each list has ranks of its own.

    `transfer` is `zero-shot`, `fine-tuned` or `not stated`.
    """

    transfer: str
    conditions: dict[str, Any]
    verified: list[BoardEntry]
    reported: list[BoardEntry]


class LeaderboardOut(BoardKey):
    """`GET /api/v1/leaderboards/board`."""

    higher_is_better: bool
    unit: str
    groups: list[BoardGroup]


class MatrixScore(BoardKey):
    """What was measured of the set-up of a cell."""

    id: int
    higher_is_better: bool
    unit: str
    value: float
    n: int | None
    stderr: float | None
    verified: bool
    transfer: str


class MatrixCell(BaseModel):
    """One task adapter in one language.

    `state`: `resolvable` (with `pack`), `ambiguous` (between the `choices`), `near` (nothing speaks
    against `pack` but that too little is known), or `missing`; `reasons` say why it is no better.
    """

    language: str
    state: Literal["resolvable", "ambiguous", "near", "missing"]
    pack: str | None = None
    reasons: list[str] = []
    choices: list[str] = []
    scores: list[MatrixScore] = []


class MatrixRow(BaseModel):
    ref: str
    cells: list[MatrixCell]


class MatrixOut(BaseModel):
    """`GET /api/v1/matrix`: the cells of a row stand in the order of `languages`."""

    base: str
    languages: list[str]
    rows: list[MatrixRow]


# --- search --------------------------------------------------------------------------------------


class SearchHit(BaseModel):
    name: str
    title: str
    summary: str
    kind: str | None
    method: str | None
    languages: list[str]
    tasks: list[str]
    base_name: str | None
    number: str | None
    """None for an adapter without a published version."""
    external: str | None = None
    """Where it was found, when it is known from elsewhere and its weights are not here."""
    downloads: int
    updated_at: datetime


class FacetValue(BaseModel):
    value: str
    label: str
    count: int


class SearchPage(BaseModel):
    """Answer of `GET /api/v1/search`."""

    hits: list[SearchHit]
    total: int
    total_is_exact: bool = True
    facets: dict[str, list[FacetValue]]
    next: str | None = None
    """Cursor of the next page."""


class Suggestion(BaseModel):
    """One line of the answer of `GET /api/v1/suggest`."""

    name: str
    title: str
