"""The results of a search, with facets as links."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Response

from registry import accounts, search, vocabulary
from registry.schemas import FacetValue, SearchPage
from registry.search_query import SearchQuery
from web.api.search import read_query
from web.deps import BaseUrl, DatabaseSession, OptionalCaller, viewer_of
from web.pages.rendering import address, page

router = APIRouter()

Asked = Annotated[SearchQuery, Depends(read_query)]

SORTS = {
    "relevance": "Best match",
    "downloads": "Downloads",
    "updated": "Last updated",
    "name": "Name",
    "score": "Score",
}
SHOWN_VALUES = 6
"""Values of a facet that are not folded away."""


@dataclass(frozen=True)
class Choice:
    """A value of a facet, and where choosing it or taking it back leads."""

    label: str
    count: int
    chosen: bool
    href: str


@dataclass(frozen=True)
class Facet:
    name: str
    label: str
    shown: list[Choice]
    folded: list[Choice]


@router.get("/search")
def get_results(query: Asked, session: DatabaseSession, caller: OptionalCaller) -> Response:
    found = search.search(session, query, viewer_of(caller))
    facets = [_facet(query, name, found.facets[name]) for name in vocabulary.FACETS]
    return page(
        "search.html",
        query=query,
        query_text=query.text,
        found=found,
        facets=[facet for facet in facets if facet.shown],
        chosen=[each for facet in facets for each in facet.shown if each.chosen],
        sorts=_sorts(query),
        next_page=_link(query, after=found.next) if found.next else None,
        first_page=_link(query) if query.after else None,
        without_facets=_link(query, facets={}),
    )


@router.get("/{owner}")
def get_owner(
    owner: str, query: Asked, session: DatabaseSession, caller: OptionalCaller, base: BaseUrl
) -> Response:
    """Return what an owner has that the viewer may see."""
    viewer = viewer_of(caller)
    account = accounts.find(session, owner)
    if account is None:
        raise HTTPException(404, f"Nobody is called {owner!r} here.")
    mine = SearchQuery(owner=account.name, sort="downloads", limit=50, after=query.after)
    found: SearchPage = search.search(session, mine, viewer)
    inside = accounts.role_on(session, caller, account.id) is not None
    return page(
        "owner.html",
        account=account,
        members=accounts.members(session, account) if inside else [],
        found=found,
        next_page=address(f"/{account.name}", after=found.next) if found.next else None,
        endpoint=base,
    )


def _facet(query: SearchQuery, name: str, values: list[FacetValue]) -> Facet:
    choices = [_choice(query, name, value) for value in values]
    # Chosen values stay in sight, wherever they stand by number.
    choices.sort(key=lambda choice: not choice.chosen)
    return Facet(name, vocabulary.FACETS[name], choices[:SHOWN_VALUES], choices[SHOWN_VALUES:])


def _choice(query: SearchQuery, facet: str, value: FacetValue) -> Choice:
    now = list(query.facets.get(facet, ()))
    chosen = value.value in now
    then = [each for each in now if each != value.value] if chosen else [*now, value.value]
    href = _link(query, facets={**query.facets, facet: then})
    return Choice(value.label, value.count, chosen, href)


def _sorts(query: SearchQuery) -> list[tuple[str, str, bool]]:
    """Return label, address and whether it is the present one, per order that makes sense."""
    senseless = set() if query.text.strip() else {"relevance"}
    if not (query.dataset and query.metric):
        senseless.add("score")
    return [
        (label, _link(query, sort=sort), sort == query.order())
        for sort, label in SORTS.items()
        if sort not in senseless
    ]


def _link(query: SearchQuery, **changes: Any) -> str:
    fields = {"facets": query.facets, "sort": query.sort, "after": None} | changes
    facets = {facet: list(values) for facet, values in fields.pop("facets").items()}
    fields |= {"dataset": query.dataset, "metric": query.metric}
    return address("/search", q=query.text, owner=query.owner, **facets, **fields)
