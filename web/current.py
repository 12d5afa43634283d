"""The request that is being answered, for what is called without one: templates and log lines."""

from contextvars import ContextVar
from typing import Any

STATE: ContextVar[dict[str, Any] | None] = ContextVar("hub_request", default=None)
"""`request.state` as a dictionary; set by `middleware.RequestLog`."""


def get(key: str) -> Any:
    """Return what the request's state holds, or None."""
    return (STATE.get() or {}).get(key)
