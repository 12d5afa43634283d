"""The first page."""

from fastapi import APIRouter, Response

from registry import catalogue, search
from registry.search_query import SearchQuery
from web.deps import BaseUrl, DatabaseSession, OptionalCaller, viewer_of
from web.pages.rendering import page

router = APIRouter()

SHOWN = 6


@router.get("/")
def get_home(session: DatabaseSession, caller: OptionalCaller, base: BaseUrl) -> Response:
    viewer = viewer_of(caller)
    popular = search.search(session, SearchQuery(sort="downloads", limit=SHOWN), viewer)
    recent, _ = search.hits(session, SearchQuery(sort="updated", limit=SHOWN), viewer)
    return page(
        "home.html",
        popular=popular.hits,
        recent=recent,
        facets=popular.facets,
        totals=catalogue.totals(session, viewer),
        endpoint=base,
    )
