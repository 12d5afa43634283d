"""Bodies of `/api/v1` about what is found."""

from datetime import datetime

from pydantic import BaseModel


class SearchHit(BaseModel):
    name: str
    title: str
    summary: str
    kind: str | None
    method: str | None
    languages: list[str]
    tasks: list[str]
    base_name: str | None
    number: str | None
    """None for an adapter without a published version."""
    external: str | None = None
    """Where it was found, when it is known from elsewhere and its weights are not here."""
    downloads: int
    updated_at: datetime
    score: float | None = None
    """Its best value, where it was asked to sort by score and there is one."""


class FacetValue(BaseModel):
    value: str
    label: str
    count: int


class SearchPage(BaseModel):
    """Answer of `GET /api/v1/search`."""

    hits: list[SearchHit]
    total: int
    total_is_exact: bool = True
    facets: dict[str, list[FacetValue]]
    next: str | None = None
    """Cursor of the next page."""


class Suggestion(BaseModel):
    """One line of the answer of `GET /api/v1/suggest`."""

    name: str
    title: str
