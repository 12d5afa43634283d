"""The documents on disk: what the runtime writes beside the weights, manifests, recipes, locks."""

from typing import Any, Literal

from pydantic import Field

from registry.schemas.base import Digest, Document, Kind, RevisionId

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
    requires: dict[str, Requirement] = Field(default_factory=dict)
    setup: dict[str, Any] | str | None = None
    languages: tuple[str, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    training: dict[str, Any] = Field(default_factory=dict)


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
