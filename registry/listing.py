"""Lists of adapters as Hub clients ask for them: filtered by tags, a page at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload

from registry import accounts
from registry.models import Account, Adapter, Ref, Revision, RevisionFile, SearchDocument
from registry.revisions import MAIN

Sort = Literal["updated", "created", "downloads"]
SCANNED = 2_000
"""Adapters that one page looks at, at most: with rare tags a page is short rather than slow."""
BATCH = 200

_COLUMNS: dict[Sort, InstrumentedAttribute[Any]] = {
    "updated": Adapter.updated_at,
    "created": Adapter.created_at,
    "downloads": Adapter.downloads,
}
_PREFIXES = {"base": "base_model:adapter:", "licence": "license:", "dataset": "dataset:"}


@dataclass(frozen=True)
class Query:
    """What to list. `tags` must all be there."""

    text: str = ""
    owner: str | None = None
    tags: frozenset[str] = frozenset()
    sort: Sort = "updated"
    limit: int = 100
    after: tuple[Any, int] | None = None
    """Sort value and id of the last adapter of the page before."""


@dataclass(frozen=True)
class Listed:
    """An adapter, the revision its branch main is at, and its computed tags."""

    adapter: Adapter
    revision: Revision | None
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    rows: Sequence[Listed]
    next: tuple[Any, int] | None


def list_adapters(session: Session, query: Query, viewer: Account | None) -> Page:
    """Return one page, which may be shorter than the limit although others follow."""
    found: list[Listed] = []
    after, scanned = query.after, 0
    while len(found) < query.limit and scanned < SCANNED:
        batch = session.execute(_select(query, after, viewer)).all()
        for adapter, revision, facets in batch:
            after = _position(query, adapter)
            scanned += 1
            tags = tags_of(facets or {}, revision.files if revision is not None else ())
            if query.tags.issubset(tags):
                found.append(Listed(adapter, revision, tags))
            if len(found) == query.limit:
                break
        if len(batch) < BATCH:
            return Page(found, after if len(found) == query.limit else None)
    return Page(found, after)


def describe(session: Session, adapter: Adapter, revision: Revision) -> Listed:
    """Return what a list would show of one adapter, at a revision of it."""
    facets = session.scalar(
        select(SearchDocument.facets).where(SearchDocument.adapter_id == adapter.id)
    )
    return Listed(adapter, revision, tags_of(facets or {}, revision.files))


def tags_of(facets: Mapping[str, Iterable[str]], files: Iterable[RevisionFile]) -> tuple[str, ...]:
    """Return the tags by which Hub clients filter, computed from contents and not from claims."""
    tags = [_PREFIXES.get(facet, "") + value for facet in sorted(facets) for value in facets[facet]]
    return tuple(dict.fromkeys([*_libraries(files), *tags]))


def base_of(listed: Listed) -> str | None:
    """Return the name of the base model an adapter was trained on, if that is known."""
    prefix = _PREFIXES["base"]
    return next((tag.removeprefix(prefix) for tag in listed.tags if tag.startswith(prefix)), None)


def _libraries(files: Iterable[RevisionFile]) -> list[str]:
    # A set-up has a folder for each of its adapters.
    names = {file.path.rpartition("/")[2] for file in files}
    libraries = {
        "peft": "adapter_model.safetensors" in names,
        "adapters": "adapter.safetensors" in names,
        "safetensors": any(name.endswith(".safetensors") for name in names),
    }
    return [library for library, used in libraries.items() if used]


def _select(
    query: Query, after: tuple[Any, int] | None, viewer: Account | None
) -> Select[tuple[Adapter, Revision, dict[str, Any]]]:
    column = _COLUMNS[query.sort]
    at_main = and_(Ref.adapter_id == Adapter.id, Ref.name == MAIN)
    statement = (
        select(Adapter, Revision, SearchDocument.facets)
        .outerjoin(Ref, at_main)
        .outerjoin(
            Revision, and_(Revision.adapter_id == Adapter.id, Revision.id == Ref.revision_id)
        )
        .outerjoin(SearchDocument, SearchDocument.adapter_id == Adapter.id)
        .where(accounts.visible_to(viewer), *_conditions(query))
        .options(selectinload(Revision.files))
        .order_by(column.desc(), Adapter.id.desc())
        .limit(BATCH)
    )
    if after is not None:
        value, last = after
        statement = statement.where(or_(column < value, and_(column == value, Adapter.id < last)))
    return statement


def _conditions(query: Query) -> list[ColumnElement[bool]]:
    conditions = [
        Adapter.name.contains(word, autoescape=True) for word in query.text.lower().split()
    ]
    if query.owner is not None:
        conditions.append(Adapter.name.startswith(f"{query.owner.lower()}/", autoescape=True))
    return conditions


def _position(query: Query, adapter: Adapter) -> tuple[datetime | int, int]:
    value: datetime | int = getattr(adapter, _COLUMNS[query.sort].key)
    return value, adapter.id
