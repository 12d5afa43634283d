"""Bodies of `/api/v1` about what was measured: records, scores, leaderboards, the matrix."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from registry.schemas.base import Count, Digest, Document


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
    n: Count | None = Field(None, ge=1)
    stderr: float | None = Field(None, ge=0)
    conditions: dict[str, Any] = Field(default_factory=dict)
    source: Literal["reported", "imported", "verified"] = "reported"
    supersedes: Count | None = None
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
