"""What happens to every request before a route sees it: its path, its id, its line in the log."""

import json
import logging
import time
import uuid
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("hub.access")


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
    """Gives each request an id and logs one JSON line for it: no query, no header, no secret."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        entry: dict[str, Any] = {"request": uuid.uuid4().hex, "method": scope["method"]}
        scope.setdefault("state", {})["request_id"] = entry["request"]
        began = time.perf_counter()
        try:
            await self.app(scope, receive, _noting(entry, send))
        finally:
            entry["path"] = scope["path"]
            entry["ms"] = round((time.perf_counter() - began) * 1000, 1)
            log.info(json.dumps(entry))


def _noting(entry: MutableMapping[str, Any], send: Send) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            entry["status"] = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = entry["request"]
        await send(message)

    return noting
