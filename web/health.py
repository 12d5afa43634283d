"""Whether the server runs, and whether it can work: for those who restart and route."""

import logging
from collections.abc import Callable

from fastapi import APIRouter, Request, Response, status
from sqlalchemy import select

from registry import db

router = APIRouter(tags=["health"])
log = logging.getLogger("hub.health")

NOBODYS = "0" * 64
"""A digest that no bytes have."""


@router.get("/health")
def live() -> dict[str, str]:
    """Answer 200 while the process answers at all; restart it when it does not."""
    return {"status": "ok"}


@router.get("/health/ready")
def ready(request: Request, response: Response) -> dict[str, str]:
    """Answer 200 while database and blobs answer and the schema is this release's; else 503.

    Send requests elsewhere meanwhile; a restart would not help.
    """
    state = request.app.state

    def database() -> None:
        with state.reading_sessions.begin() as session:
            session.execute(select(1))

    def schema() -> None:
        if not db.is_current(state.engine):
            raise RuntimeError("the schema is not that of this release: run hubctl admin migrate")

    def blobs() -> None:
        state.blobs.exists(NOBODYS)

    found = {check.__name__: _outcome(check) for check in (database, schema, blobs)}
    good = all(outcome == "ok" for outcome in found.values())
    if not good:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return {"status": "ready" if good else "not ready", **found}


def _outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:
        # Anybody may ask, so the reason goes to the log alone.
        log.warning("%s is not ready", check.__name__, exc_info=error)
        return "failed"
    return "ok"
