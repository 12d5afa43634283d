"""Waiting for what a server does after it answered: logs, counts, cleaning."""

import time
from collections.abc import Callable

WAITS = 10
"""Seconds."""


def eventually(condition: Callable[[], object]) -> bool:
    """Wait for a condition; return whether it came true."""
    deadline = time.monotonic() + WAITS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())
