"""An adapter as a whole, over HTTP."""

from fastapi import APIRouter

from registry import catalogue, revisions
from registry.schemas import AdapterOut
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
