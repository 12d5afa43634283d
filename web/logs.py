"""The log: one JSON document a line, on standard error.

{"at", "level", "logger", "message", "request"} and what the line is about. Requests are logged by
path: no query, no header, no body, so neither tokens nor signed addresses get in.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from web import current


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request": current.get("request_id"),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: value for key, value in document.items() if value is not None})


def configure(level: str) -> None:
    """Send what the hub and its server log to standard error, from this level up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("hub", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
    # One line for each request is ours; uvicorn's would hold its query.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(
        max(logging.getLogger("hub").level, logging.WARNING)
    )
