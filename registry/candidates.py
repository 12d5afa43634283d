"""What a caller may choose from: the versions that answer each slot of a recipe.

Private adapters of others do not exist here, neither as candidates nor in explanations.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, or_, select
from sqlalchemy.orm import Session

from registry import accounts, base_models, external, names, revisions, setup
from registry.errors import InvalidRecipe, ResolutionImpossible, RevisionNotFound
from registry.models import Account, Adapter, BaseModel, Manifest, Version
from registry.names import Content, Exact, Latest, Range, Reference, RevisionPin
from registry.plan import Candidate, ResolvedBase
from registry.schemas import BaseIdentity, Need, Recipe, Requirement, Signature
from registry.versioning import Number, admits

MOST = 5_000
"""Versions that may answer one need; beyond, the need says too little."""
SHOWN_ELSEWHERE = 20
"""How many versions for other bases an explanation shows when there are none for this one."""

# Not the whole document: the digests of its tensors can take megabytes, and no rule reads them.
_FIELDS = (
    *("kind", "base", "signature", "requires", "setup", "head", "languages", "datasets", "card"),
    *("configuration", "files"),
)


def candidates_for(
    session: Session, recipe: Recipe, viewer: Account | None
) -> tuple[dict[str, list[Candidate]], ResolvedBase]:
    """Return the candidates of every slot, and the base that the recipe means.

    Raises AdapterNotFound and RevisionNotFound for a reference that leads nowhere,
    BaseModelNotFound for an unknown base, InvalidRecipe when none is said and none follows,
    ResolutionImpossible when too many versions answer a need.
    """
    found = {
        slot: _named(session, names.parse_reference(filling), viewer)
        for slot, filling in recipe.slots.items()
        if isinstance(filling, str)
    }
    base = _base(session, recipe, found)
    for slot, filling in recipe.slots.items():
        if isinstance(filling, Need):
            found[slot] = _needed(session, slot, filling, base, viewer)
    return found, base


def named(session: Session, text: str, viewer: Account | None) -> list[Candidate]:
    """Return the versions that a reference selects.

    Raises InvalidName, AdapterNotFound, RevisionNotFound.
    """
    return _named(session, names.parse_reference(text), viewer)


def of_base(
    session: Session,
    base: str | BaseIdentity,
    viewer: Account | None,
    *,
    kinds: Sequence[str] = ("task", "language"),
) -> tuple[ResolvedBase, list[Candidate]]:
    """Return a base, and every adapter of these kinds that may be one of its structure.

    Raises BaseModelNotFound for a name that is not registered, InvalidRecipe for an identity that
    says nothing.
    """
    if isinstance(base, str):
        resolved = _resolved(base_models.get(session, base))
    else:
        resolved = _identified(session, base)
    structure = resolved.identity.structure
    found = _versions(
        accounts.visible_to(viewer),
        Version.kind.in_(kinds),
        or_(Version.structure == structure, Version.structure.is_(None)),
    )
    return resolved, _candidates(session, found)


# --- bases ---------------------------------------------------------------------------------------


def _base(
    session: Session, recipe: Recipe, named: Mapping[str, Sequence[Candidate]]
) -> ResolvedBase:
    wanted = recipe.base
    if wanted is None:
        return _base_of(session, [each for found in named.values() for each in found])
    if isinstance(wanted, str):
        return _resolved(base_models.get(session, wanted))
    return _identified(session, wanted)


def _identified(session: Session, identity: BaseIdentity) -> ResolvedBase:
    if identity.body is None and identity.name is None:
        raise InvalidRecipe("the recipe's base has neither a name nor the digest of its body")
    row = base_models.find(session, identity)
    if row is not None:
        return _resolved(row)
    return ResolvedBase.of(identity)


def _base_of(session: Session, named: Iterable[Candidate]) -> ResolvedBase:
    """Return the one base that all versions named by the recipe were trained on."""
    bases: dict[BaseIdentity, tuple[ResolvedBase, str]] = {}
    for candidate in named:
        if candidate.base.body is not None or candidate.base.name is not None:
            base = _identified(session, candidate.base)
            bases.setdefault(base.identity, (base, candidate.ref))
    if not bases:
        raise InvalidRecipe("the recipe says no base, and names no adapter from which it follows")
    if len(bases) > 1:
        several = "; ".join(sorted(f"{ref} on {base}" for base, ref in bases.values()))
        raise InvalidRecipe(
            f"the adapters named were trained on several bases, say which: {several}"
        )
    return next(iter(bases.values()))[0]


def _resolved(row: BaseModel) -> ResolvedBase:
    casts: dict[str, set[str]] = {"body": {row.body}, "embeddings": {row.embeddings}}
    for alias in row.aliases:
        casts[alias.part].add(alias.digest)
    positions = row.config.get("max_position_embeddings")
    return ResolvedBase(
        identity=base_models.identity_of(row),
        bodies=frozenset(casts["body"]),
        embeddings=frozenset(casts["embeddings"]),
        model_type=row.model_type,
        max_positions=positions if isinstance(positions, int) else None,
    )


# --- slots that name an adapter ------------------------------------------------------------------


def _named(session: Session, reference: Reference, viewer: Account | None) -> list[Candidate]:
    adapter = revisions.find_adapter(session, reference.name, viewer)
    external.check_here(adapter)
    selector = reference.selector
    if isinstance(selector, RevisionPin):
        found = _candidates(session, _versions(Version.revision_id == selector.id, adapter))
        found = found or _unnumbered(session, adapter, selector.id)
    elif isinstance(selector, Content):
        found = _candidates(session, _versions(Version.content == selector.digest, adapter))
    elif isinstance(selector, Exact):
        found = _candidates(session, _versions(Version.number == selector.number, adapter))
    else:
        found = _selected(session, selector, adapter)
    if not found:
        raise RevisionNotFound(adapter.name, str(selector))
    return found


def _selected(session: Session, selector: Latest | Range, adapter: Adapter) -> list[Candidate]:
    """Return the versions in a range, or the latest: the highest live one, if any is."""
    query = select(Version).where(Version.adapter_id == adapter.id)
    versions = {_number(version): version for version in session.scalars(query)}
    if isinstance(selector, Range):
        wanted = [number for number in versions if admits(selector, number)]
    else:
        wanted = _latest(versions)
    ids = [versions[number].id for number in wanted]
    return _candidates(session, _versions(Version.id.in_(ids), adapter))


def _latest(versions: Mapping[Number, Version]) -> list[Number]:
    """Return the highest live number; failing that the highest deprecated, then the highest."""
    for states in ({"live"}, {"deprecated"}, {"yanked"}, {"quarantined", "removed"}):
        if numbers := [number for number, each in versions.items() if each.state in states]:
            return [max(numbers)]
    return []


def _unnumbered(session: Session, adapter: Adapter, revision: str) -> list[Candidate]:
    """Return a revision that is a valid adapter and has no version."""
    query = (
        select(Manifest.content, *_documents())
        .where(Manifest.adapter_id == adapter.id, Manifest.revision_id == revision)
        .order_by(Manifest.revision_id)
    )
    return [
        Candidate(
            adapter=adapter.name,
            number=None,
            revision=revision,
            content=row.content,
            **_from_document(row),
        )
        for row in session.execute(query)
    ]


# --- slots that say a need -----------------------------------------------------------------------


def _needed(
    session: Session, slot: str, need: Need, base: ResolvedBase, viewer: Account | None
) -> list[Candidate]:
    conditions = [accounts.visible_to(viewer), *_conditions(need)]
    here = _versions(*conditions)
    if (structure := base.identity.structure) is not None:
        here = here.where(or_(Version.structure == structure, Version.structure.is_(None)))
    found = _candidates(session, here.limit(MOST + 1))
    if len(found) > MOST:
        raise ResolutionImpossible(
            f"more than {MOST:,} versions answer the slot {slot!r}; say more of what you need"
        )
    found = [each for each in found if need.task is None or need.task.lower() in each.tasks]
    # For other bases: useless, but a person who finds nothing wants to know that they exist.
    return found or _candidates(session, _versions(*conditions).limit(SHOWN_ELSEWHERE))


def _conditions(need: Need) -> list[ColumnElement[bool]]:
    kind = _kind(need)
    conditions: list[ColumnElement[bool]] = [Version.kind == kind]
    # A task adapter may be for several languages; R5 compares them all.
    if need.language is not None and kind == "language":
        code = names.parse_language(need.language).partition("-")[0]
        conditions.append(or_(Version.language == code, Version.language.startswith(f"{code}-")))
    return conditions


def _kind(need: Need) -> str:
    if need.kind is not None:
        return need.kind
    return "task" if need.task is not None else "language"


# --- rows ----------------------------------------------------------------------------------------


def _documents() -> list[ColumnElement[Any]]:
    return [Manifest.document[field].label(field) for field in _FIELDS]


def _versions(*conditions: ColumnElement[bool] | Adapter) -> Select[Any]:
    """Select versions in the order of names and ages; an adapter stands for its versions."""
    clauses = [
        Version.adapter_id == each.id if isinstance(each, Adapter) else each for each in conditions
    ]
    return (
        select(Version, Adapter.name.label("adapter_name"), *_documents())
        .join(Adapter, Version.adapter_id == Adapter.id)
        .join(
            Manifest,
            (Manifest.adapter_id == Version.adapter_id)
            & (Manifest.revision_id == Version.revision_id),
        )
        .where(*clauses)
        .order_by(Adapter.name, Version.major, Version.minor, Version.patch)
    )


def _candidates(session: Session, query: Select[Any]) -> list[Candidate]:
    return [_candidate(row) for row in session.execute(query)]


def _candidate(row: Row[Any]) -> Candidate:
    version: Version = row.Version
    return Candidate(
        adapter=row.adapter_name,
        number=_number(version),
        revision=version.revision_id,
        content=version.content,
        state=version.state,
        successor=version.successor,
        **_from_document(row),
    )


def _number(version: Version) -> Number:
    return Number(version.major, version.minor, version.patch)


def _from_document(row: Row[Any]) -> dict[str, Any]:
    requires: dict[str, Any] | None = row.requires
    head: dict[str, Any] | None = row.head
    labels = (head or {}).get("labels")
    signature = Signature.model_validate(row.signature)
    return {
        "kind": row.kind,
        "base": BaseIdentity.model_validate(row.base),
        "signature": signature,
        "requires": None
        if requires is None
        else {slot: Requirement.model_validate(each) for slot, each in requires.items()},
        "languages": tuple([signature.language] if signature.language else row.languages),
        "trained_in": _tree(row.setup),
        "has_head": head is not None,
        "labels": None if labels is None else tuple(labels),
        "tasks": _tasks(row.card, row.datasets),
        "licence": row.card.get("licence"),
        "positions": _length(row.configuration, "prefix_length", "prompt_length"),
        "prompts": _length(row.configuration, "prompt_length"),
        "files": row.files,
    }


def _tree(document: Any) -> setup.Tree | None:
    try:
        return None if document is None else setup.read_tree(document)
    except InvalidRecipe:
        return None  # described in a way we do not know: as good as not described


def _tasks(card: Mapping[str, Any], datasets: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    words = [*card.get("tasks", ()), *card.get("tags", ())]
    for dataset in datasets:
        words += [dataset.get("name"), dataset.get("config")]
    return tuple(sorted({str(word).lower() for word in words if word}))


def _length(configuration: Any, *keys: str) -> int:
    """Return the sum of these fields of a configuration, its parts and what is nested in it."""
    if isinstance(configuration, list):
        return sum(_length(part, *keys) for part in configuration)
    if not isinstance(configuration, Mapping):
        return 0
    own = [configuration.get(key) for key in keys]
    nested = sum(_length(part, *keys) for part in configuration.values())
    return nested + sum(length for length in own if isinstance(length, int))
