"""How many adapters a search finds, and how many of them have each value of each facet.

Words are looked up in the full-text index, at most `COUNTED` matches of them; the rest is counted
in arrays (`registry.facet_cube`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import accounts, search_index, vocabulary
from registry.facet_cube import FacetCube, Mask, cube_of
from registry.models import Account
from registry.search_index import Terms
from registry.search_query import SearchQuery

COUNTED = 20_000
"""Matches of words that are counted; beyond, counts are lower bounds."""
MANY, MANY_OF_ALL = 1_000, 0.01
"""Matches of facets that are many, also as a share: every hundredth adapter, and the more so."""
_ADAPTER = (1 << 40) - 1
"""The bits of a search row's id that are the adapter's (`search.popularity_key`)."""


@dataclass(frozen=True)
class Counted:
    """A facet's own choice does not narrow its counts: they say what another would find."""

    total: int
    exact: bool
    facets: Mapping[str, Mapping[str, int]]


def count(session: Session, query: SearchQuery, viewer: Account | None) -> Counted:
    with _counting(session, query, viewer) as counting:
        return counting.run()


def if_many(
    session: Session, query: SearchQuery, viewer: Account | None
) -> Callable[[int], bool] | None:
    """Return which adapters have the values of a query without words, if that are many."""
    with _counting(session, query, viewer) as counting:
        counting.match_words()
        found = counting.found(None)
    many = int(found.sum())
    if many < MANY or many < len(found) * MANY_OF_ALL:
        return None
    return lambda adapter: adapter < len(found) and bool(found[adapter])


@contextmanager
def _counting(
    session: Session, query: SearchQuery, viewer: Account | None
) -> Iterator["_Counting"]:
    cube = cube_of(session)
    owners = accounts.owners_seen_by(session, viewer)
    owner = None
    if query.owner is not None:
        name = query.owner.replace("\0", "").strip().lower()
        owner = session.scalar(select(Account.id).where(Account.name == name)) or 0
    with cube.lock:
        visible = cube.visible(owners)
        if owner is not None:
            visible &= cube.owned(owner)
        yield _Counting(session, query, cube, visible)


class _Counting:
    def __init__(
        self, session: Session, query: SearchQuery, cube: FacetCube, visible: Mask
    ) -> None:
        self.session = session
        self.query = query
        self.cube = cube
        self.visible = visible
        self.exact = True
        self._by_words: Mask | None = None
        """Which adapters match the words, where they are few enough to know them all."""
        self._listed: dict[Terms, list[int]] = {}
        """Matches of terms that are too many."""

    def run(self) -> Counted:
        chosen = {facet: values for facet, values in self.query.facets.items() if values}
        self.match_words()
        found = self.found(None)
        counts = _by_facet(self.cube.counts(found))
        for facet in chosen:
            others = self.cube.counts(self.found(facet))
            counts[facet] = _by_facet(others)[facet]
        return Counted(int(found.sum()), self.exact, counts)

    def match_words(self) -> None:
        words = Terms(self.query.terms().words)
        if not words:
            self._by_words = self.visible
            return
        listed = self._matches(words)
        if len(listed) < COUNTED:
            self._by_words = self.cube.among(listed) & self.visible
        else:
            self._listed[words] = listed

    def found(self, without: str | None) -> Mask:
        """Return what matches words and facets, but for one facet's choice."""
        terms = self.query.terms(without=without)
        if self._by_words is None:
            # The words match too many to list: let the index intersect them with the facets.
            ids = self._listed.get(terms) or self._matches(terms)
            self.exact = self.exact and (len(ids) < COUNTED or without is not None)
            return self.cube.among(ids) & self.visible
        found = self._by_words.copy()
        for tokens in terms.tokens:
            found &= self.cube.having(tokens)
        return found

    def _matches(self, terms: Terms) -> list[int]:
        index = search_index.index_of(self.session)
        ids = self.session.scalars(index.matches(terms).limit(COUNTED))
        return [key & _ADAPTER for key in ids]


def _by_facet(tokens: Mapping[str, int]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {facet: {} for facet in vocabulary.FACETS}
    for token, number in tokens.items():
        facet, value = search_index.value_of(token)
        counts[facet][value] = number
    return counts
