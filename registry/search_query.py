"""What a person looks for: words, facets, an order, a place in the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from registry import search_index, vocabulary
from registry.errors import InvalidQuery
from registry.search_index import Terms

Sort = Literal["relevance", "downloads", "updated", "name", "score"]

LARGEST_PAGE = 100
MOST_VALUES = 20
"""Values of one facet that a search may allow."""


@dataclass(frozen=True)
class SearchQuery:
    """What a person looks for. Facets narrow down; several values of one facet are alternatives."""

    text: str = ""
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    owner: str | None = None
    sort: Sort | None = None
    """None: by relevance when there are words, else by downloads."""
    dataset: str | None = None
    metric: str | None = None
    """On what and by what adapters are compared when they are sorted by score."""
    limit: int = 20
    after: str | None = None
    """`SearchPage.next` of the page before."""

    def terms(self, *, without: str | None = None) -> Terms:
        groups = (
            tuple(search_index.token(facet, value) for value in values)
            for facet, values in self.facets.items()
            if values and facet != without
        )
        return Terms(search_index.words(self.text), tuple(groups))

    def order(self) -> Sort:
        has_words = bool(search_index.words(self.text))
        if self.sort is None or (self.sort == "relevance" and not has_words):
            return "relevance" if has_words else "downloads"
        return self.sort

    def check(self) -> None:
        """Raises InvalidQuery."""
        if unknown := self.facets.keys() - vocabulary.FACETS.keys():
            raise InvalidQuery(
                f"there is no facet {min(unknown)!r}; choose of {', '.join(vocabulary.FACETS)}"
            )
        for facet, values in self.facets.items():
            if len(values) > MOST_VALUES:
                raise InvalidQuery(f"{facet} allows {len(values)} values; {MOST_VALUES} at most")
        if self.sort is not None and self.sort not in get_args(Sort):
            raise InvalidQuery(f"cannot sort by {self.sort!r}: use {', '.join(get_args(Sort))}")
        if self.sort == "score" and not (self.dataset and self.metric):
            raise InvalidQuery(
                "scores compare on one data set by one metric: give both, as in dataset=xcopa and "
                "metric=accuracy"
            )
        if not 1 <= self.limit <= LARGEST_PAGE:
            raise InvalidQuery(f"a page has 1 to {LARGEST_PAGE} results, not {self.limit}")
