"""The compatibility matrix over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query

from registry import matrix
from registry.schemas import MatrixOut
from web.deps import DatabaseSession, OptionalCaller, viewer_of

router = APIRouter(prefix="/api/v1", tags=["set-ups"])

Values = Annotated[list[str], Query()]


@router.get("/matrix")
def read_matrix(
    base: str,
    session: DatabaseSession,
    caller: OptionalCaller,
    language: Values = [],  # noqa: B006  (FastAPI copies defaults)
    task: Values = [],  # noqa: B006
) -> MatrixOut:
    """Say for every task adapter of a base in which languages it works, and what was measured.

    Each cell is what `/api/v1/resolve` would find. `language` and `task` narrow it down.
    """
    viewer = viewer_of(caller)
    return matrix.matrix(session, base, viewer, languages=language, tasks=task)
