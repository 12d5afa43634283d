"""Hub protocol: the list of adapters, a page at a time."""

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request, Response

from registry import listing
from web.deps import AppSettings, BaseUrl, Blobs, DatabaseSession, OptionalCaller, viewer_of
from web.hub import shapes
from web.hub.repository import card_of

router = APIRouter(include_in_schema=False)

SORTS: dict[str, listing.Sort] = {
    "createdAt": "created",
    "created_at": "created",
    "downloads": "downloads",
    "likes": "downloads",  # nobody likes anything here; downloads come nearest
    "trendingScore": "downloads",
    "trending_score": "downloads",
}

Words = Annotated[list[str], Query()]


@router.get("/api/models")
def list_models(
    *,
    request: Request,
    response: Response,
    session: DatabaseSession,
    store: Blobs,
    caller: OptionalCaller,
    settings: AppSettings,
    base: BaseUrl,
    filter: Words = [],  # noqa: A002, B006  (the name on the wire; FastAPI copies defaults)
    expand: Words = [],  # noqa: B006
    author: str | None = None,
    search: str = "",
    pipeline_tag: str | None = None,
    sort: str = "lastModified",
    limit: Annotated[int | None, Query(ge=1)] = None,
    full: bool = False,
    cardData: bool = False,
    cursor: str | None = None,
) -> list[dict[str, Any]]:
    query = listing.Query(
        text=search,
        owner=author,
        tags=frozenset([*filter, pipeline_tag] if pipeline_tag else filter),
        sort=SORTS.get(sort, "updated"),
        limit=min(limit or settings.page_size, settings.page_size),
        after=_read_cursor(cursor),
    )
    page = listing.list_adapters(session, query, viewer_of(caller))
    if page.next is not None:
        others = [item for item in request.query_params.multi_items() if item[0] != "cursor"]
        address = urlencode([*others, ("cursor", _cursor(page.next))])
        response.headers["Link"] = f'<{base}/api/models?{address}>; rel="next"'
    cards_wanted = full or cardData or "cardData" in expand
    return [
        shapes.adapter_info(
            row,
            card_of(store, row.revision) if cards_wanted and row.revision is not None else None,
            sizes=False,
        )
        for row in page.rows
    ]


def _cursor(position: tuple[Any, int]) -> str:
    value, last = position
    text = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([text, last]).encode()).decode()


def _read_cursor(cursor: str | None) -> tuple[Any, int] | None:
    if cursor is None:
        return None
    try:
        value, last = json.loads(base64.urlsafe_b64decode(cursor))
        return (datetime.fromisoformat(value) if isinstance(value, str) else int(value)), int(last)
    except (binascii.Error, ValueError, TypeError) as error:
        raise HTTPException(400, "the cursor is not one this list gave out") from error
