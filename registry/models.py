"""The tables. Everything that is published is immutable; names and version numbers never return."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from registry.tables import Base as Base  # noqa: PLC0414  (who asks for it wants all tables in it)
from registry.tables import Id, now


class Account(Base):
    """A user or an organisation: both own adapters, in one namespace."""

    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("kind in ('user', 'organisation')", name="kind"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(96), unique=True)
    kind: Mapped[str] = mapped_column(String(16), default="user")
    full_name: Mapped[str] = mapped_column(String(200), default="")
    email: Mapped[str | None] = mapped_column(String(254))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    is_operator: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
    disabled_at: Mapped[datetime | None]
    """Since when nobody may act as this account; what it owns and did stays."""


class Membership(Base):
    """What a user may do in an organisation's name."""

    __tablename__ = "memberships"
    __table_args__ = (CheckConstraint("role in ('read', 'write', 'admin')", name="role"),)

    organisation_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(8))


class Token(Base):
    """A credential. Only its sha256 is kept."""

    __tablename__ = "tokens"
    __table_args__ = (CheckConstraint("role in ('read', 'write', 'admin')", name="role"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    label: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(8), default="write")
    purpose: Mapped[str] = mapped_column(String(16), default="access", server_default="access")
    """`access` for clients, `session` of a browser, or `invitation` to choose a password."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship()


class LoginFailure(Base):
    """A password that was wrong, kept for as long as it counts."""

    __tablename__ = "login_failures"
    __table_args__ = (Index("ix_login_failures_subject_at", "subject", "at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    subject: Mapped[str] = mapped_column(String(64))
    """The digest of what is counted: a name, with or without the address it was tried from."""
    at: Mapped[datetime] = mapped_column(default=now)


class Adapter(Base):
    """A named series of versions (a "model repository" to a Hub client). Never deleted."""

    __tablename__ = "adapters"
    __table_args__ = (
        CheckConstraint("visibility in ('public', 'private')", name="visibility"),
        Index("ix_adapters_updated_at_id", "updated_at", "id"),
        Index("ix_adapters_downloads_id", "downloads", "id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    name: Mapped[str] = mapped_column(String(96), unique=True)
    """`owner/name`, its present name. Former names stay in `AdapterName`."""
    visibility: Mapped[str] = mapped_column(String(8), default="public")
    downloads: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    removed_at: Mapped[datetime | None]
    external: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What is known of an adapter whose weights are elsewhere (`registry.importing`); else None."""

    owner: Mapped[Account] = relationship()
    versions: Mapped[list["Version"]] = relationship(back_populates="adapter")


class AdapterName(Base):
    """Every name an adapter ever had: redirects after a rename, tombstones after a removal."""

    __tablename__ = "adapter_names"

    name: Mapped[str] = mapped_column(String(96), primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)


class Blob(Base):
    """Bytes that are durable in the blob store."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    git_sha1: Mapped[str] = mapped_column(String(40))
    """The git blob id, with which Hub clients detect that a small file has not changed."""
    seen: Mapped[str] = mapped_column(String(16), default="text")
    """What the first bytes show (`registry.acceptance.sniff`)."""
    stored_at: Mapped[datetime] = mapped_column(default=now)


class Upload(Base):
    """Bytes that were sent to this adapter. Knowing a digest alone lets nobody attach the bytes."""

    __tablename__ = "uploads"

    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)
    uploaded_at: Mapped[datetime] = mapped_column(default=now)


class Revision(Base):
    """An immutable snapshot of files; a Hub client calls it a commit."""

    __tablename__ = "revisions"

    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    parent_id: Mapped[str | None] = mapped_column(String(40))
    tree_digest: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text, default="")
    author_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)

    author: Mapped[Account] = relationship()
    files: Mapped[list["RevisionFile"]] = relationship(order_by="RevisionFile.path")


class RevisionFile(Base):
    """One path of a revision."""

    __tablename__ = "revision_files"
    __table_args__ = (
        ForeignKeyConstraint(
            ["adapter_id", "revision_id"], ["revisions.adapter_id", "revisions.id"]
        ),
    )

    adapter_id: Mapped[int] = mapped_column(primary_key=True)
    revision_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    path: Mapped[str] = mapped_column(String(255), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    large: Mapped[bool] = mapped_column(default=False)
    """Served with the sha256 as ETag, as a Hub serves an LFS file; else with the git id."""

    blob: Mapped[Blob] = relationship(lazy="joined", innerjoin=True)


class Ref(Base):
    """A branch or a tag."""

    __tablename__ = "refs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["adapter_id", "revision_id"], ["revisions.adapter_id", "revisions.id"]
        ),
        CheckConstraint("kind in ('branch', 'tag')", name="kind"),
    )

    adapter_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    revision_id: Mapped[str] = mapped_column(String(40))


class BaseModel(Base):
    """A frozen transformer that adapters were trained on, known by digests. We hold no weights."""

    __tablename__ = "base_models"
    __table_args__ = (UniqueConstraint("body", "embeddings", "tokenizer"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    revision: Mapped[str | None] = mapped_column(String(40))
    model_type: Mapped[str] = mapped_column(String(64))
    structure: Mapped[str] = mapped_column(String(71), index=True)
    body: Mapped[str] = mapped_column(String(71))
    embeddings: Mapped[str] = mapped_column(String(71))
    tokenizer: Mapped[str | None] = mapped_column(String(71))
    config: Mapped[dict[str, Any]]
    tensors: Mapped[dict[str, Any]]
    """Parameter name relative to the base model -> {"dtype", "shape"}."""
    registered_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    registered_at: Mapped[datetime] = mapped_column(default=now)

    aliases: Mapped[list["BaseAlias"]] = relationship(back_populates="base")


class BaseAlias(Base):
    """Another digest of the same weights: a cast to float16 or bfloat16."""

    __tablename__ = "base_aliases"

    base_id: Mapped[int] = mapped_column(ForeignKey("base_models.id"), primary_key=True)
    part: Mapped[str] = mapped_column(String(16), primary_key=True)
    """`body` or `embeddings`."""
    digest: Mapped[str] = mapped_column(String(71), primary_key=True, index=True)
    dtype: Mapped[str] = mapped_column(String(16))

    base: Mapped[BaseModel] = relationship(back_populates="aliases")


class Manifest(Base):
    """What makes a revision a valid adapter, derived from its files when they were checked."""

    __tablename__ = "manifests"
    __table_args__ = (
        ForeignKeyConstraint(
            ["adapter_id", "revision_id"], ["revisions.adapter_id", "revisions.id"]
        ),
    )

    adapter_id: Mapped[int] = mapped_column(primary_key=True)
    revision_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    digest: Mapped[str] = mapped_column(String(71))
    content: Mapped[str] = mapped_column(String(71), index=True)
    document: Mapped[dict[str, Any]]


class Version(Base):
    """A number that a revision was published under. The row never moves and never goes."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("adapter_id", "number"),
        ForeignKeyConstraint(
            ["adapter_id", "revision_id"], ["manifests.adapter_id", "manifests.revision_id"]
        ),
        CheckConstraint(
            "state in ('live', 'deprecated', 'yanked', 'quarantined', 'removed')", name="state"
        ),
        Index("ix_versions_candidates", "structure", "kind", "language"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    number: Mapped[str] = mapped_column(String(64))
    major: Mapped[int] = mapped_column(BigInteger)
    minor: Mapped[int] = mapped_column(BigInteger)
    patch: Mapped[int] = mapped_column(BigInteger)
    revision_id: Mapped[str] = mapped_column(String(40))
    content: Mapped[str] = mapped_column(String(71), index=True)
    state: Mapped[str] = mapped_column(String(16), default="live")
    successor: Mapped[str | None] = mapped_column(String(200))
    state_reason: Mapped[str | None] = mapped_column(String(500))
    published_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    published_at: Mapped[datetime] = mapped_column(default=now)
    # Copies of manifest fields by which the resolver and the catalogue select.
    kind: Mapped[str | None] = mapped_column(String(16))
    method: Mapped[str | None] = mapped_column(String(64))
    language: Mapped[str | None] = mapped_column(String(35))
    base_name: Mapped[str | None] = mapped_column(String(200), index=True)
    structure: Mapped[str | None] = mapped_column(String(71))

    adapter: Mapped[Adapter] = relationship(back_populates="versions")
    published_by: Mapped[Account] = relationship()
    manifest: Mapped[Manifest] = relationship(viewonly=True)


class Metric(Base):
    """How to read a value: its direction, unit and bounds."""

    __tablename__ = "metrics"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    title: Mapped[str] = mapped_column(String(100))
    higher_is_better: Mapped[bool]
    unit: Mapped[str] = mapped_column(String(16))
    """`fraction`, or what the value counts (`points`, `nats`)."""
    lower: Mapped[float | None] = mapped_column(Float)
    upper: Mapped[float | None] = mapped_column(Float)
    aliases: Mapped[list[Any]] = mapped_column(default=list)
    """What else it is called, in lower case with `_` for spaces: `acc`, `matthews_correlation`."""


class Task(Base):
    """What an adapter is trained to do, and by which metric that is usually measured."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    title: Mapped[str] = mapped_column(String(100))
    metric: Mapped[str | None] = mapped_column(ForeignKey("metrics.name"))
    added_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    """None for those that came with the hub."""


class Dataset(Base):
    """Data on which adapters are measured."""

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    task: Mapped[str | None] = mapped_column(ForeignKey("tasks.name"))
    url: Mapped[str | None] = mapped_column(String(500))
    added_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))


class EvaluatorKey(Base):
    """A public key that signs verified scores. It counts from an operator's approval on."""

    __tablename__ = "evaluator_keys"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The 32 bytes of an ed25519 public key, in hexadecimal."""
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    label: Mapped[str] = mapped_column(String(100))
    registered_at: Mapped[datetime] = mapped_column(default=now)
    approved_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    approved_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Evidence(Base):
    """Bytes on which a verified score rests, such as the predictions; kept as a blob."""

    __tablename__ = "evidence"

    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)
    uploaded_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    uploaded_at: Mapped[datetime] = mapped_column(default=now)


class Setup(Base):
    """A resolved set-up that scores refer to."""

    __tablename__ = "setups"

    digest: Mapped[str] = mapped_column(String(71), primary_key=True)
    lock: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime] = mapped_column(default=now)


class SetupPart(Base):
    """A content that a recorded set-up is made of; the lock says where it stands."""

    __tablename__ = "setup_parts"

    setup: Mapped[str] = mapped_column(ForeignKey("setups.digest"), primary_key=True)
    content: Mapped[str] = mapped_column(String(71), primary_key=True, index=True)


class External(Base):
    """What an imported score is of when its weights are not here: a configuration and a base."""

    __tablename__ = "externals"

    digest: Mapped[str] = mapped_column(String(71), primary_key=True)
    adapter_id: Mapped[int | None] = mapped_column(ForeignKey("adapters.id"), index=True)
    """The external adapter that has it as a variant."""
    document: Mapped[dict[str, Any]]
    """A `schemas.ExternalSubject`."""
    recorded_at: Mapped[datetime] = mapped_column(default=now)


class Score(Base):
    """One measured value of an adapter version's content, of a set-up, or of something external."""

    __tablename__ = "scores"
    __table_args__ = (
        CheckConstraint("source in ('reported', 'imported', 'verified')", name="source"),
        Index("ix_scores_board", "dataset", "config", "split", "metric"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    subject: Mapped[str] = mapped_column(String(71), index=True)
    """A content digest, a set-up digest, or that of an external subject."""
    dataset: Mapped[str] = mapped_column(String(200))
    config: Mapped[str | None] = mapped_column(String(100))
    split: Mapped[str] = mapped_column(String(64), default="test")
    language: Mapped[str | None] = mapped_column(String(35))
    metric: Mapped[str] = mapped_column(ForeignKey("metrics.name"))
    value: Mapped[float] = mapped_column(Float)
    n: Mapped[int | None] = mapped_column(BigInteger)
    stderr: Mapped[float | None] = mapped_column(Float)
    conditions: Mapped[dict[str, Any]]
    source: Mapped[str] = mapped_column(String(16), default="reported")
    reported_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    reported_at: Mapped[datetime] = mapped_column(default=now)
    retracted_at: Mapped[datetime | None]
    retracted_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    retraction_reason: Mapped[str | None] = mapped_column(Text)
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("scores.id"))
    """The score of the same reporter that this one replaced."""
    evaluator_key: Mapped[str | None] = mapped_column(ForeignKey("evaluator_keys.key"))
    evidence: Mapped[str | None] = mapped_column(ForeignKey("evidence.sha256"))
    signature: Mapped[str | None] = mapped_column(String(128))
    """Of `statements.statement` by the evaluator's key, in hexadecimal; these three or none."""


class SearchDocument(Base):
    """What the catalogue searches: one row per adapter.

    Triggers (migration 0002) make the row with the adapter, keep `id` and `name` in step with it,
    and keep the full-text index in step with the row; `registry.search` fills in the rest.
    """

    __tablename__ = "search_documents"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    """Smaller for the more popular (`search.popularity_key`), so that an index walks them first."""
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), unique=True)
    name: Mapped[str] = mapped_column(String(96))
    title: Mapped[str] = mapped_column(Text, default="")
    summary: Mapped[str] = mapped_column(Text, default="")
    card: Mapped[str] = mapped_column(Text, default="")
    words: Mapped[str] = mapped_column(Text, default="")
    """What the facets are called: "German", "Language adapter"."""
    number: Mapped[str | None] = mapped_column(String(64))
    """The version that is described; None while there is none."""
    facets: Mapped[dict[str, Any]]
    """{"method": [...], "task": [...], "language": [...], "base": [...], "licence": [...],
    "kind": [...]}"""
    facet_tokens: Mapped[str] = mapped_column(Text, default="")
    """The facets as words for the index (`search_index.token`)."""


class SearchChange(Base):
    """When an adapter's facets or readers last changed; triggers (migration 0007) keep it."""

    __tablename__ = "search_changes"

    adapter_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    stamp: Mapped[int] = mapped_column(BigInteger, index=True)
    """Rises; what the numbers mean differs between databases (`registry.facet_cube`)."""


class AuditEntry(Base):
    """Who did what, when. The database refuses to change or delete a row."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    actor: Mapped[str] = mapped_column(String(96))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200), index=True)
    detail: Mapped[dict[str, Any]]
