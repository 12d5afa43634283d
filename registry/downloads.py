"""Counting downloads: each once, none lost among many at once, and no reader waits for it.

A server counts in memory and adds its counts to the database every second, and when it ends. So a
thousand downloads cost one small transaction, and a reader's connection is not kept by a writer
that waits for the lock of SQLite. What is lost with a killed server is the last second's.
"""

import threading
from collections import Counter
from typing import Self

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from registry import db
from registry.models import Adapter

EVERY = 1.0
"""Seconds."""


class DownloadCounter:
    """The counts of one server; use it in a `with`, which ends with everything written."""

    def __init__(self, sessions: db.Sessions) -> None:
        self._sessions = sessions
        self._counts: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def add(self, adapter_id: int) -> None:
        with self._lock:
            self._counts[adapter_id] += 1

    def write(self) -> None:
        """Add the counts to the database; when that fails they are kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            with self._sessions.begin() as session:
                # In one order, for servers of one hub would else wait for one another.
                for adapter_id, count in sorted(counts.items()):
                    more = {"downloads": Adapter.downloads + count}
                    session.execute(update(Adapter).where(Adapter.id == adapter_id).values(more))
        except SQLAlchemyError:
            with self._lock:
                self._counts.update(counts)

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            self.write()
        self.write()
