"""What happens to every request before a route sees it: its path, its id, its line in the log."""

import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web import current
from web.metrics import Metrics

log = logging.getLogger("hub.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class EncodedSlashes:
    """Keeps `%2F` in the path that routes see, where it is part of a name and no separator.

    Hub clients quote revisions (`feat%2Fx`) and some paths; servers decode the path before routing.
    Path parameters that may hold a slash are therefore unquoted once more by the route.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and b"%2f" in scope.get("raw_path", b"").lower():
            parts = scope["raw_path"].split(b"/")
            decoded = (unquote_to_bytes(part).replace(b"/", b"%2F") for part in parts)
            scope = {**scope, "path": b"/".join(decoded).decode("utf-8", "replace")}
        await self.app(scope, receive, send)


class RequestLog:
    """Gives each request an id, counts it, and logs one line: no query, no header, no secret.

    A proxy's own id, in X-Request-Id, is kept, so that its log and ours can be read together.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(scope)
        current.STATE.set(state)
        answer = {"status": 500}  # unless an answer begins
        began = time.perf_counter()
        try:
            await self.app(scope, receive, _noting(answer, state["request_id"], send))
        finally:
            seconds = time.perf_counter() - began
            self.metrics.observe(scope, answer["status"], seconds)
            fields = {
                "request": state["request_id"],
                "method": scope["method"],
                "path": scope["path"],
                **answer,
                "ms": round(seconds * 1000, 1),
                "code": state.get("error_code"),
            }
            log.info("%s %s", scope["method"], scope["path"], extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _noting(answer: MutableMapping[str, int], request_id: str, send: Send) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = request_id
        await send(message)

    return noting
