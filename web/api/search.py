"""Finding adapters, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy import select

from registry import search
from registry.schemas import SearchPage, Suggestion
from registry.search_query import LARGEST_PAGE, SearchQuery, Sort
from web.deps import DatabaseSession, OptionalCaller, viewer_of

router = APIRouter(prefix="/api/v1", tags=["search"])

Values = Annotated[list[str], Query()]
"""A parameter that may be repeated; its values are alternatives."""


def read_query(
    *,
    q: str = "",
    kind: Values = [],  # noqa: B006  (FastAPI copies defaults)
    language: Values = [],  # noqa: B006
    task: Values = [],  # noqa: B006
    method: Values = [],  # noqa: B006
    base: Values = [],  # noqa: B006
    licence: Values = [],  # noqa: B006
    owner: str | None = None,
    sort: Sort | None = None,
    dataset: str | None = None,
    metric: str | None = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 20,
    after: str | None = None,
) -> SearchQuery:
    """Read a search from an address; pages and API share it."""
    facets = {
        "kind": kind,
        "language": language,
        "task": task,
        "method": method,
        "base": base,
        "licence": licence,
    }
    chosen = {facet: [value for value in values if value] for facet, values in facets.items()}
    return SearchQuery(
        text=q,
        facets={facet: values for facet, values in chosen.items() if values},
        owner=owner or None,
        sort=sort,
        dataset=dataset or None,
        metric=metric or None,
        limit=limit,
        after=after or None,
    )


Asked = Annotated[SearchQuery, Depends(read_query)]


@router.get("/search")
def find(query: Asked, session: DatabaseSession, caller: OptionalCaller) -> SearchPage:
    """Find adapters by words and facets. `next` of the answer is `after` of the next page."""
    return search.search(session, query, viewer_of(caller))


@router.get("/suggest")
def suggest(q: str, session: DatabaseSession, caller: OptionalCaller) -> list[Suggestion]:
    """Complete the beginning of a name, the most downloaded first."""
    return search.suggest(session, q, viewer_of(caller))


@router.get("/health")
def health(session: DatabaseSession) -> dict[str, str]:
    """Answer 200 while the database answers."""
    session.execute(select(1))
    return {"status": "ok"}
