"""The full-text index in the two databases we support, behind one interface.

Triggers keep it in step with `search_documents` (migration 0002). What a person types never reaches
the index's query language as such: it becomes words, and each word is quoted.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Select,
    cast,
    column,
    func,
    literal,
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


@dataclass(frozen=True)
class Terms:
    """What a document must hold: every word, and of each group of facet tokens at least one."""

    words: tuple[str, ...] = ()
    tokens: tuple[tuple[str, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.tokens)


class SearchIndex(Protocol):
    """How one database finds rows of `search_documents`."""

    ranked: int
    """How many matches are ranked, the most popular ones: ranking all costs too much."""

    def matching(self, terms: Terms) -> ColumnElement[bool]:
        """Return the condition that the documents selected from match the terms."""

    def matches(self, terms: Terms) -> Select[int]:
        """Return the ids of all rows that match the terms."""

    def best(self, terms: Terms, visible: ColumnElement[bool]) -> CTE:
        """Return `id` and `score` (smaller is better) of the most popular visible matches."""

    def completing(self, words: Sequence[str]) -> Select[str, str]:
        """Return names (and titles) that hold the words, the last as a beginning; popular first."""


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
    ranked = 2_000

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

    def completing(self, words: Sequence[str]) -> Select[str, str]:
        expression = " AND ".join(f'"{word}"' for word in words) + "*"
        return (
            select(SearchDocument.name, SearchDocument.title)
            .where(_FTS_NAMES.c.search_fts_names.op("match")(expression))
            .where(_FTS_NAMES.c.rowid == SearchDocument.id)
            # Not by the equal SearchDocument.id: SQLite would fetch every match, to sort them.
            .order_by(_FTS_NAMES.c.rowid)
        )


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

    def completing(self, words: Sequence[str]) -> Select[str, str]:
        query = _tsquery("simple", " & ".join(f"'{_fold(word)}'" for word in words) + ":*")
        return (
            select(SearchDocument.name, SearchDocument.title)
            .where(_VECTORS.c.id == SearchDocument.id, _VECTORS.c.names.op("@@")(query))
            .order_by(SearchDocument.id)
        )


_VECTORS = table("search_fts", column("id"), column("words"), column("names"))


def _tsquery(configuration: str, query: str) -> ColumnElement[str]:
    return func.to_tsquery(literal(configuration).op("::")(literal_column("regconfig")), query)


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
