"""An adapter as a whole, over HTTP."""

from fastapi import APIRouter

from registry import catalogue, revisions, scores
from registry.schemas import AdapterOut, ScoreOut
from web.deps import BaseUrl, DatabaseSession, OptionalCaller, viewer_of

router = APIRouter(prefix="/api/v1", tags=["adapters"])


@router.get("/adapters/{owner}/{name}")
def get_adapter(
    owner: str, name: str, session: DatabaseSession, caller: OptionalCaller, base: BaseUrl
) -> AdapterOut:
    """Return an adapter with its versions and scores. A former name leads to it too."""
    viewer = viewer_of(caller)
    adapter = revisions.find_adapter(session, f"{owner}/{name}", viewer)
    return catalogue.adapter_out(session, adapter, viewer, base_url=base)


@router.get("/adapters/{owner}/{name}/scores")
def list_scores(
    *,
    owner: str,
    name: str,
    session: DatabaseSession,
    caller: OptionalCaller,
    history: bool = False,
) -> list[ScoreOut]:
    """List the scores of an adapter's versions, and of set-ups that hold one."""
    viewer = viewer_of(caller)
    adapter = revisions.find_adapter(session, f"{owner}/{name}", viewer)
    return scores.for_adapter(session, adapter, viewer, history=history)
