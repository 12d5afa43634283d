"""The compatibility matrix: the task adapters of a base by its languages."""

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from registry import base_models, matrix, names
from registry.models import Account
from registry.schemas import MatrixCell, MatrixOut
from web.deps import BaseUrl, DatabaseSession, OptionalCaller, viewer_of
from web.pages.rendering import address, page

router = APIRouter()

STATES = {
    "resolvable": "works",
    "ambiguous": "several fit equally; name one",
    "near": "near match: too little is known",
    "missing": "nothing fits",
}
SIGNS = {"resolvable": "✓", "ambiguous": "2+", "near": "~", "missing": "·"}


@router.get("/matrix")
def get_bases(session: DatabaseSession, caller: OptionalCaller) -> Response:
    """List the bases, each with how many adapters the viewer may see."""
    viewer = viewer_of(caller)
    rows = base_models.matching(session, name=None, body=None)
    bases = [base_models.base_model_out(session, row, viewer) for row in rows]
    return page("matrices.html", bases=[base for base in bases if base.adapters])


@router.get("/matrix/{base:path}")
def get_matrix(
    *,
    base: str,
    session: DatabaseSession,
    caller: OptionalCaller,
    base_url: BaseUrl,
    task: str | None = None,
    language: str | None = None,
) -> Response:
    """Show a base's matrix, with one cell explained when it is asked for."""
    viewer = viewer_of(caller)
    found = matrix.matrix(session, base, viewer)
    return page(
        "matrix.html",
        found=found,
        counts=_counts(found),
        states=STATES,
        signs=SIGNS,
        chosen=_chosen(session, base, viewer, task, language),
        endpoint=base_url,
        href=lambda row, cell: (
            address(f"/matrix/{base}", task=_adapter(row.ref), language=cell.language) + "#chosen"
        ),
    )


def _counts(found: MatrixOut) -> dict[str, int]:
    cells: list[str] = [cell.state for row in found.rows for cell in row.cells]
    measured = sum(bool(cell.scores) for row in found.rows for cell in row.cells)
    return {state: cells.count(state) for state in STATES} | {"measured": measured}


def _chosen(
    session: Session, base: str, viewer: Account | None, task: str | None, language: str | None
) -> tuple[str, MatrixCell] | None:
    """Return the task and the cell that is to be explained."""
    if not task or not language:
        return None
    found = matrix.matrix(session, base, viewer, languages=[language], tasks=[task])
    return (found.rows[0].ref, found.rows[0].cells[0]) if found.rows else None


def _adapter(ref: str) -> str:
    return names.parse_reference(ref).name
