"""The full-text index in the two databases we support, behind one interface.

Triggers keep it in step with `search_documents` (migration 0002). What a person types never reaches
the index's query language as such: it becomes words, and each word is quoted.
"""

import re
import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Double,
    Select,
    String,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    table,
)
from sqlalchemy.orm import Session

from registry.models import Adapter, SearchDocument

MOST_WORDS = 12
LONGEST_WORD = 64
SHORTEST_PREFIX = 3
"""From this length on the last word may be the beginning of one: "senti" finds "sentiment"."""


TYPED: BindParameter[str] = bindparam("typed", type_=String)


@dataclass(frozen=True)
class Terms:
    """What a document must hold: every word, and of each group of facet tokens at least one."""

    words: tuple[str, ...] = ()
    tokens: tuple[tuple[str, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.tokens)


class SearchIndex(Hashable, Protocol):
    """How one database finds rows of `search_documents`."""

    ranked: int
    """How many matches are ranked, the most popular ones: ranking all costs too much."""

    def matching(self, terms: Terms) -> ColumnElement[bool]:
        """Return the condition that the documents selected from match the terms."""

    def matches(self, terms: Terms) -> Select[int]:
        """Return the ids of all rows that match the terms."""

    def best(self, terms: Terms, visible: ColumnElement[bool]) -> CTE:
        """Return `id` and `score` (smaller is better) of the most popular visible matches."""

    def beginning(self, words: Sequence[str]) -> str:
        """Return what `completing` takes as `TYPED`: all words, the last as a beginning."""

    def completing(self) -> Sequence[Select[str, str]]:
        """Return queries for names (and titles) that hold what was `TYPED`, the popular first.

        The first one may not look at all; when it finds too few, the next one does.
        """


def index_of(session: Session) -> SearchIndex:
    return _SQLITE if session.get_bind().dialect.name == "sqlite" else _POSTGRESQL


def words(text: str) -> tuple[str, ...]:
    """Return the words of what a person typed; punctuation parts words and means nothing else."""
    # NFKC first: it turns look-alikes of quotation marks into the real ones, which are then cut.
    parts = _PUNCTUATION.split(unicodedata.normalize("NFKC", text))
    kept = [part[:LONGEST_WORD] for part in parts if any(map(str.isalnum, part))]
    return tuple(kept[:MOST_WORDS])


def token(facet: str, value: str) -> str:
    """Return a word that stands for a facet's value, and that no tokenizer parts or stems.

    >>> token("language", "zh-Hant")
    'languagex7a682d48616e74x'
    """
    # Between two "x", which occur in no facet's name and end no English suffix.
    return f"{facet}x{value.encode().hex()}x"


def value_of(token: str) -> tuple[str, str]:
    """Return facet and value of a token."""
    facet, _, rest = token.partition("x")
    return facet, bytes.fromhex(rest.removesuffix("x")).decode()


# ASCII punctuation, space and control characters. Others are left to the databases' tokenizers.
_PUNCTUATION = re.compile(r"[\x00-/:-@\[-`{-\xa0\u2028\u2029]+")


class _Sqlite:
    ranked = 1_000

    def matching(self, terms: Terms) -> ColumnElement[bool]:
        return (_FTS.c.rowid == SearchDocument.id) & _FTS.c.search_fts.op("match")(_fts5(terms))

    def matches(self, terms: Terms) -> Select[int]:
        return select(_FTS.c.rowid).where(_FTS.c.search_fts.op("match")(_fts5(terms)))

    def best(self, terms: Terms, visible: ColumnElement[bool]) -> CTE:
        # One weight per column: name, title, summary, words, card, facet_tokens.
        score = func.bm25(literal_column("search_fts"), 10.0, 6.0, 3.0, 3.0, 1.0, 0.0)
        return (
            select(_FTS.c.rowid.label("id"), score.label("score"))
            .where(self.matching(terms), SearchDocument.adapter_id == Adapter.id, visible)
            .order_by(_FTS.c.rowid)
            .limit(self.ranked)
            .cte("best")
            .prefix_with("materialized")
        )

    def beginning(self, words: Sequence[str]) -> str:
        return " AND ".join(f'"{word}"' for word in words) + "*"

    def completing(self) -> Sequence[Select[str, str]]:
        found = (
            select(SearchDocument.name, SearchDocument.title)
            .where(_FTS_NAMES.c.search_fts_names.op("match")(TYPED))
            .where(_FTS_NAMES.c.rowid == SearchDocument.id)
            # Not by the equal SearchDocument.id: SQLite would fetch every match, to sort them.
            .order_by(_FTS_NAMES.c.rowid)
        )
        return (found,)


_FTS = table("search_fts", column("rowid"), column("search_fts"))
_FTS_NAMES = table("search_fts_names", column("rowid"), column("search_fts_names"))


def _fts5(terms: Terms) -> str:
    parts = [
        "{facet_tokens} : (" + " OR ".join(f'"{token}"' for token in group) + ")"
        for group in terms.tokens
    ]
    if terms.words:
        quoted = [f'"{word}"' for word in terms.words]
        if len(terms.words[-1]) >= SHORTEST_PREFIX:
            quoted[-1] += "*"
        parts.append("{name title summary words card} : (" + " AND ".join(quoted) + ")")
    return " AND ".join(parts)


class _Postgresql:
    ranked = 1_000
    walked = 4_000
    """How many of the most popular names are looked at for a beginning, before it is looked up."""

    def matching(self, terms: Terms) -> ColumnElement[bool]:
        return (_VECTORS.c.id == SearchDocument.id) & self._holds(terms)

    def matches(self, terms: Terms) -> Select[int]:
        return select(_VECTORS.c.id).where(self._holds(terms))

    def _holds(self, terms: Terms) -> ColumnElement[bool]:
        groups = [f"({' | '.join(group)})" for group in terms.tokens]
        query = _tsquery("hub", " & ".join([*groups, *_lexemes(terms.words)]))
        return _VECTORS.c.words.op("@@")(query)

    def best(self, terms: Terms, visible: ColumnElement[bool]) -> CTE:
        # Which way is faster, the planner's statistics tell: to look up and sort the rows of a rare
        # word, or to meet those of a common one on a walk by popularity.
        top = (
            select(_VECTORS.c.id)
            .where(self.matching(terms), SearchDocument.adapter_id == Adapter.id, visible)
            .order_by(_VECTORS.c.id)
            .limit(self.ranked)
            .cte("top")
        )
        query = _tsquery("hub", " & ".join(_lexemes(terms.words)))
        # As float8: float4 does not survive the way through JSON into a cursor and back.
        score = -cast(func.ts_rank(_VECTORS.c.words, query), Double)
        return (
            select(top.c.id, score.label("score")).join(_VECTORS, _VECTORS.c.id == top.c.id)
        ).cte("best")

    def beginning(self, words: Sequence[str]) -> str:
        return " & ".join(f"'{_fold(word)}'" for word in words) + ":*"

    def completing(self) -> Sequence[Select[str, str]]:
        # A walk by popularity soon meets a frequent beginning, and a rare one never: it is looked
        # up. The planner takes every beginning for a frequent one, unless it is asked for twice.
        key, names = _VECTORS.c.id, _VECTORS.c.names
        popular = select(key, names).order_by(key).limit(self.walked).subquery()
        walk = select(popular.c.id).where(_begins(popular.c.names)).subquery()
        rare = select(key).where(_begins(names), _begins(names)).order_by(key)
        return tuple(
            select(SearchDocument.name, SearchDocument.title)
            .where(way.c.id == SearchDocument.id)
            .order_by(way.c.id)
            for way in (walk, rare.cte().prefix_with("materialized"))
        )


_VECTORS = table("search_fts", column("id"), column("words"), column("names"))


def _begins(names: ColumnElement[str]) -> ColumnElement[bool]:
    return names.op("@@")(_tsquery("simple", TYPED))


def _tsquery(
    configuration: Literal["hub", "simple"], query: str | ColumnElement[str]
) -> ColumnElement[str]:
    # A constant: a parameter that is cast would be looked up, and the query parsed, for every row.
    return func.to_tsquery(literal_column(f"'{configuration}'::regconfig"), query)


def _lexemes(words: Sequence[str]) -> list[str]:
    quoted = [f"'{_fold(word)}'" for word in words]
    if words and len(words[-1]) >= SHORTEST_PREFIX:
        quoted[-1] += ":*"
    return quoted


def _fold(word: str) -> str:
    """Do as the function `search_fold` of the database does with the texts."""
    plain = unicodedata.normalize("NFKD", word.lower())
    bare = re.sub("[\u0300-\u036f]", "", plain)
    return bare.replace("'", "''").replace("\\", "\\\\")


_SQLITE: SearchIndex = _Sqlite()
_POSTGRESQL: SearchIndex = _Postgresql()
