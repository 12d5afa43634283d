"""Finding adapters: by words and facets, in an order, page by page; and keeping their search rows.

Nobody finds, counts or is told the name of an adapter that may not be seen.
"""

import base64
import functools
import heapq
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Double,
    FromClause,
    Row,
    Select,
    SQLColumnExpression,
    String,
    bindparam,
    case,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

from registry import (
    accounts,
    cards,
    facet_counts,
    frontmatter,
    score_order,
    search_index,
    vocabulary,
)
from registry.errors import InvalidQuery
from registry.frontmatter import Card
from registry.models import Account, Adapter, Manifest, SearchDocument, Version
from registry.schemas import FacetValue, SearchHit, SearchPage, Suggestion
from registry.search_index import SearchIndex
from registry.search_query import SearchQuery, Sort
from registry.tables import UtcDateTime

SHOWN_VALUES = 12
"""Values of one facet that a page lists, the most frequent ones."""
SUGGESTIONS = 8
VIEWER: BindParameter[int] = bindparam("viewer", type_=BigInteger)
WALKED = 500
"""Adapters that are looked at in one step of a walk through all of them."""


def search(session: Session, query: SearchQuery, viewer: Account | None) -> SearchPage:
    """Return a page of what the viewer may see and the query asks for, and what else there is.

    Raises InvalidQuery.
    """
    found, following = hits(session, query, viewer)
    counted = facet_counts.count(session, query, viewer)
    return SearchPage(
        hits=found,
        total=counted.total,
        total_is_exact=counted.exact,
        facets=_facet_values(query, counted.facets),
        next=following,
    )


def hits(
    session: Session, query: SearchQuery, viewer: Account | None
) -> tuple[list[SearchHit], str | None]:
    """Return a page of hits without counting, and the place of the next. Raises InvalidQuery."""
    query.check()
    order = query.order()
    found = session.execute(_page(session, query, order, viewer)).all()
    rows = found[: query.limit]
    following = _cursor(order, rows[-1]) if len(found) > query.limit else None
    return [_hit(row) for row in rows], following


def suggest(session: Session, prefix: str, viewer: Account | None) -> list[Suggestion]:
    """Return adapters whose names hold the words, the last as a beginning; the popular first."""
    words = search_index.words(prefix)
    if not words:
        return []
    index = search_index.index_of(session)
    asked: dict[str, object] = {search_index.TYPED.key: index.beginning(words)}
    if viewer is not None:
        asked[VIEWER.key] = viewer.id
    connection = session.connection()
    found: Sequence[Any] = []
    for statement in _completions(index, accounts.sight_of(viewer), connection.dialect):
        values: Any = statement.construct_params(asked)
        if statement.positional:
            values = tuple(values[name] for name in statement.positiontup or ())
        found = connection.exec_driver_sql(statement.string, values).all()
        if len(found) == SUGGESTIONS:
            break
    return [Suggestion(name=name, title=title) for name, title in found]


@functools.lru_cache(maxsize=16)
def _completions(index: SearchIndex, sight: accounts.Sight, dialect: Dialect) -> list[SQLCompiler]:
    """Return the queries that complete a name, as text: making it takes longer than they do."""
    visible, here = accounts.in_sight(sight, VIEWER), Adapter.id == SearchDocument.adapter_id
    first, *others = index.completing()
    # Not a join: to plan one takes longer than to look at the few that the first way finds.
    first = first.where(select(visible).where(here).scalar_subquery())
    queries = [first, *(other.where(here, visible) for other in others)]
    return [query.limit(SUGGESTIONS).compile(dialect=dialect) for query in queries]


def _visible(query: SearchQuery, viewer: Account | None) -> ColumnElement[bool]:
    visible = accounts.visible_to(viewer)
    if query.owner is None:
        return visible
    owner = select(Account.id).where(Account.name == _as_name(query.owner)).scalar_subquery()
    return visible & (Adapter.owner_id == owner)


# --- one page ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Order:
    """By which expressions a page is sorted, and how a cursor names a place in it."""

    keys: tuple[SQLColumnExpression[Any], ...]
    """The last one is an id, so that no two places are equal."""
    descending: bool

    def apply(self, statement: Select[Any], after: Sequence[object] | None) -> Select[Any]:
        if after is not None:
            place, here = tuple_(*map(_bound, after)), tuple_(*self.keys)
            statement = statement.where(here < place if self.descending else here > place)
        return statement.order_by(
            *(key.desc() if self.descending else key.asc() for key in self.keys)
        )


_BROWSING: dict[Sort, _Order] = {
    "downloads": _Order((Adapter.downloads, Adapter.id), descending=True),
    "updated": _Order((Adapter.updated_at, Adapter.id), descending=True),
    "name": _Order((Adapter.name, Adapter.id), descending=False),
}


def _page(session: Session, query: SearchQuery, order: Sort, viewer: Account | None) -> Select[Any]:
    index, terms = search_index.index_of(session), query.terms()
    visible = _visible(query, viewer)
    if order == "relevance":
        best = _candidates(session, query, visible)
        by = _Order((_closeness(query.text), best.c.score, best.c.id), descending=False)
        statement = _rows(by).join(best, best.c.id == SearchDocument.id)
    elif order == "score":
        by, statement = _scored(session, query)
        statement = statement.where(visible, *([index.matching(terms)] if terms else []))
    else:
        by = _BROWSING[order]
        statement = _rows(by).where(visible)
        if terms.tokens and not terms.words:
            broad = facet_counts.if_many(session, query, viewer)
            statement = statement.where(
                index.matching(terms)
                if broad is None
                else Adapter.id.in_(_walk(session, query, by, broad))
            )
        elif terms:
            statement = statement.where(index.matching(terms))
    after = None if query.after is None else _place(query.after, order)
    return by.apply(statement, after).limit(query.limit + 1)


def _scored(session: Session, query: SearchQuery) -> tuple[_Order, Select[Any]]:
    """Return the order by score, and the rows with their score; those without one come last."""
    best = score_order.best(session, query.dataset or "", query.metric or "")
    absent = case((best.c.cost.is_(None), 1), else_=0)
    by = _Order((absent, func.coalesce(best.c.cost, 0.0), Adapter.id), descending=False)
    rows = _rows(by).outerjoin(best, best.c.adapter_id == Adapter.id)
    return by, rows.add_columns(best.c.value.label("score"))


def _walk(
    session: Session, query: SearchQuery, by: _Order, wanted: Callable[[int], bool]
) -> list[int]:
    """Return the first adapters of a page in its order, of which many are wanted.

    Sorting all matches of "English" takes longer than going through all adapters in the order of an
    index until a page is full.
    """
    place = None if query.after is None else _place(query.after, query.order())
    found: list[int] = []
    while len(found) <= query.limit:
        step = by.apply(select(*by.keys), place).limit(WALKED)
        rows = session.execute(step).all()
        found += [row[-1] for row in rows if wanted(row[-1])]
        if len(rows) < WALKED:
            break
        place = list(rows[-1])
    return found[: query.limit + 1]


def _rows(order: _Order) -> Select[Any]:
    document = SearchDocument
    return select(
        *(document.name, document.title, document.summary, document.number, document.facets),
        *(Adapter.downloads, Adapter.updated_at),
        Adapter.external["source"].as_string().label("external"),
        *(key.label(f"key_{position}") for position, key in enumerate(order.keys)),
    ).join_from(document, Adapter, Adapter.id == document.adapter_id)


def _candidates(session: Session, query: SearchQuery, visible: ColumnElement[bool]) -> FromClause:
    """Return what is ranked: popular matches, and the adapter of exactly that name."""
    index, terms = search_index.index_of(session), query.terms()
    best = index.best(terms, visible)
    if "/" not in query.text:
        return best
    named = (
        select(SearchDocument.id, literal(0.0))
        .join(Adapter, Adapter.id == SearchDocument.adapter_id)
        .where(Adapter.name == _as_name(query.text), visible, index.matching(terms))
        .where(SearchDocument.id.not_in(select(best.c.id)))
    )
    return union_all(select(best.c.id, best.c.score), named).subquery()


def _closeness(text: str) -> ColumnElement[int]:
    """Return 0 for the adapter of exactly that name, 1 where it is the part after the owner."""
    name = _as_name(text)
    return case(
        (SearchDocument.name == name, 0),
        (SearchDocument.name.endswith("/" + name, autoescape=True), 1),
        else_=2,
    )


def _as_name(text: str) -> str:
    # PostgreSQL takes no NUL, and no name has one.
    return text.replace("\0", "").strip().lower()


def _bound(value: object) -> ColumnElement[Any]:
    # Said outright: SQLAlchemy would take every integer for one of 32 bits.
    types = {datetime: UtcDateTime, int: BigInteger, float: Double, str: String}
    return literal(value, types[type(value)])


def _hit(row: Row[Any]) -> SearchHit:
    facets = row.facets
    return SearchHit(
        name=row.name,
        title=row.title or row.name.partition("/")[2],
        summary=row.summary,
        kind=next(iter(facets.get("kind", ())), None),
        method=next(iter(facets.get("method", ())), None),
        languages=facets.get("language", []),
        tasks=facets.get("task", []),
        base_name=next(iter(facets.get("base", ())), None),
        number=row.number,
        external=row.external,
        downloads=row.downloads,
        updated_at=row.updated_at,
        score=getattr(row, "score", None),
    )


def _cursor(order: Sort, row: Row[Any]) -> str:
    keys = [value for name, value in row._mapping.items() if name.startswith("key_")]  # noqa: SLF001
    place = [key.isoformat() if isinstance(key, datetime) else key for key in keys]
    return base64.urlsafe_b64encode(json.dumps([order, *place]).encode()).decode().rstrip("=")


_PLACES: dict[Sort, tuple[type, ...]] = {
    "relevance": (int, float, int),
    "downloads": (int, int),
    "updated": (str, int),
    "name": (str, int),
    "score": (int, float, int),
}


def _place(cursor: str, order: Sort) -> list[object]:
    """Read a cursor of ours. Anybody may send one, so nothing about it is taken for granted."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        return _keys(json.loads(text), order)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidQuery(
            "'after' is not a place in these results: take it from 'next' of the page before, "
            "with the same order"
        ) from error


def _keys(document: list[Any], order: Sort) -> list[object]:
    sort, *keys = document
    if sort != order or [type(key) for key in keys] != list(_PLACES[order]):
        raise ValueError(f"not a place by {order}")
    if any(isinstance(key, int) and abs(key) >= 2**63 for key in keys):
        raise ValueError("no database holds such a number")
    if order == "updated":
        keys[0] = datetime.fromisoformat(keys[0]).astimezone(UTC)
    return keys


def _facet_values(
    query: SearchQuery, counts: Mapping[str, Mapping[str, int]]
) -> dict[str, list[FacetValue]]:
    return {
        facet: [
            FacetValue(value=value, label=vocabulary.label(facet, value), count=count)
            for value, count in _most_frequent(counts[facet], query.facets.get(facet, ()))
        ]
        for facet in vocabulary.FACETS
    }


def _most_frequent(counts: Mapping[str, int], chosen: Sequence[str]) -> list[tuple[str, int]]:
    """Return what is chosen, and the most frequent others, by frequency and then by name."""
    shown = dict(heapq.nsmallest(SHOWN_VALUES, counts.items(), key=_by_frequency))
    shown |= {value: counts.get(value, 0) for value in chosen}
    return sorted(shown.items(), key=_by_frequency)


def _by_frequency(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


# --- search rows ---------------------------------------------------------------------------------


def popularity_key(downloads: int, adapter_id: int) -> int:
    """Return the id of an adapter's search row: smaller for more downloads, roughly.

    Downloads count by order of magnitude and first digit, so that a row moves in the index a few
    times in its life, not at every download. The triggers of migration 0002 use the same formula.
    """
    digits = str(downloads)
    return (1000 - 10 * len(digits) - int(digits[0])) << 40 | adapter_id


def index_adapter(session: Session, adapter: Adapter, *, card: str | None = None) -> None:
    """Rewrite an adapter's search row from its newest version, in the caller's transaction.

    `card` is the text of README.md; None leaves the words of the card as they are. While there is
    no version, the card alone says what the adapter is.
    """
    session.flush()
    document = session.scalars(
        select(SearchDocument)
        .where(SearchDocument.adapter_id == adapter.id)
        # Locked, for a download may move the row to another id; read anew, for one may have.
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    if card is not None:
        _describe_card(document, frontmatter.split(card))
    if adapter.external is not None:
        _describe_external(document, adapter.external)
    version = newest_version(session, adapter.id)
    document.number = version.number if version is not None else None
    if version is not None:
        _describe_version(session, document, version)
    document.facet_tokens = " ".join(_facet_tokens(document.facets))
    session.flush()


def newest_version(session: Session, adapter_id: int) -> Version | None:
    """Return the highest live version; without one, the highest deprecated one."""
    return session.scalar(
        select(Version)
        .where(Version.adapter_id == adapter_id, Version.state.in_(("live", "deprecated")))
        .order_by(
            (Version.state == "live").desc(),
            *(Version.major.desc(), Version.minor.desc(), Version.patch.desc()),
        )
        .limit(1)
    )


def _describe_card(document: SearchDocument, card: Card) -> None:
    document.title = card.line("title") or cards.title(card.body)
    document.summary = card.line("summary") or cards.summary(card.body)
    document.card = cards.plain_text(card.body)
    languages = [*card.words("language"), *card.words("languages")]
    document.facets = _facets(
        language=[tag for tag in languages if vocabulary.is_language(tag)],
        task=card.words("pipeline_tag") + card.words("task"),
        base=card.words("base_model"),
        licence=card.words("license"),
    )
    document.words = _words(document.facets, card.words("tags"))


def _describe_version(session: Session, document: SearchDocument, version: Version) -> None:
    manifest = session.get_one(Manifest, (version.adapter_id, version.revision_id)).document
    card = manifest["card"]
    document.title = card["title"] or document.title
    document.summary = card["summary"] or document.summary
    document.facets = _facets(
        kind=[version.kind],
        method=_methods(version.method),
        task=card["tasks"],
        language=[version.language, *manifest["languages"]],
        base=[version.base_name],
        licence=[card["licence"]],
    )
    datasets = [dataset["name"] for dataset in manifest["datasets"]]
    document.words = _words(document.facets, [*card["tags"], *datasets])


def _describe_external(document: SearchDocument, known: Mapping[str, Any]) -> None:
    document.title, document.summary = known["title"], known["summary"]
    document.facets = _facets(
        kind=[known["kind"]],
        method=_methods(known["method"]),
        task=known["tasks"],
        language=known["languages"],
        base=[known["base"]],
    )
    document.words = _words(document.facets, known["words"])


def _facets(**facets: Iterable[str | None]) -> dict[str, list[str]]:
    present = {facet: _present(values) for facet, values in facets.items()}
    return {facet: values for facet, values in present.items() if values}


def _methods(method: str | None) -> list[str]:
    """Return a method first as a whole, then by its parts: a union is found by each of them."""
    return [] if method is None else [method, *vocabulary.method_parts(method)]


def _present(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def _words(facets: Mapping[str, Sequence[str]], others: Iterable[str]) -> str:
    labels = [
        vocabulary.label(facet, value) for facet, values in facets.items() for value in values
    ]
    return " ".join([*labels, *others])


def _facet_tokens(facets: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        search_index.token(facet, value) for facet, values in facets.items() for value in values
    ]
