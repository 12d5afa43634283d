"""Hub protocol: discussions and pull requests, of which this hub has none."""

from typing import Any, NoReturn

from fastapi import APIRouter, HTTPException

from web.hub.repository import VisibleAdapter

router = APIRouter(prefix="/api/models/{owner}/{name}/discussions", include_in_schema=False)

_INSTEAD = (
    "this hub has no pull requests and no discussions; upload without create_pr, or, for others to "
    "look at it first, to a branch: create_branch, then upload with revision="
)


@router.get("")
def no_discussions(owner: str, name: str) -> dict[str, Any]:  # noqa: ARG001  (part of the path)
    return {"discussions": [], "count": 0, "start": 0}


@router.post("")
def open_discussion(adapter: VisibleAdapter) -> None:  # noqa: ARG001  (404 when it is not there)
    refuse()


@router.api_route("/{path:path}", methods=["GET", "POST"])
def discussion(adapter: VisibleAdapter, path: str) -> None:  # noqa: ARG001
    refuse()


def refuse() -> NoReturn:
    """Raise HTTPException; 403, the Hub's own answer, clients explain by a lack of rights."""
    raise HTTPException(501, _INSTEAD)
