"""Which adapter has which facet values, in arrays: counting in SQL takes ten times as long.

Every process holds a cube per database, and brings it up to date before each count: triggers
(migration 0007) stamp every adapter whose facets, owner or visibility changed, so that a look at
the index of stamps tells what to read. A transaction that may write sees rows that nobody else
sees, so it counts with a cube of its own.

An adapter's values lie beside one another as pairs (adapter, value). A change writes them at the
end and leaves its old ones dead, for the next rebuilding to drop. Ids are those of `adapters`.
"""

import threading
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from registry import db

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Codes = NDArray[np.int32]

ABSENT, PRIVATE, PUBLIC = 0, 1, 2
_DEAD = 0
"""Code of a pair that no longer counts; it belongs to adapter 0, which does not exist."""
_SMALL = 16
"""A set is small when so many times its pairs are fewer than all: then only its own are read."""

_ROWS = """select a.id, a.owner_id, a.visibility, a.removed_at, d.facet_tokens, {until} as until
    from adapters a join search_documents d on d.adapter_id = a.id"""
_CHANGED = " join search_changes c on c.adapter_id = a.id where {since}"

# On SQLite writers follow one another, and so do stamps. On PostgreSQL a stamp is the number of its
# transaction, and one with a lower number may be committed later: all that the last look could have
# missed is read again. Numbers of the future are those of another server, before a restoring.
_SQLITE = ("(select coalesce(max(stamp), 0) from search_changes)", "c.stamp > :since")
_POSTGRESQL = (
    "pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
    "c.stamp >= :since and c.stamp < pg_snapshot_xmax(pg_current_snapshot())::text::bigint",
)


def cube_of(session: Session) -> "FacetCube":
    """Return the cube of a session's database, up to date."""
    connection = session.connection()
    if not connection.get_execution_options().get(db.READS, False):
        own = FacetCube()
        own.refresh(session)
        return own
    with _LOCK:
        # By the pool: reading and writing engines of one database have it in common.
        cube = _CUBES.setdefault(connection.engine.pool, FacetCube())
    cube.refresh(session)
    return cube


_CUBES: WeakKeyDictionary[Any, "FacetCube"] = WeakKeyDictionary()
_LOCK = threading.Lock()


class FacetCube:
    def __init__(self) -> None:
        self.tokens: list[str] = [""]
        """Code -> the token of the facet value; `search_index.value_of` reads it."""
        self._codes: dict[str, int] = {}
        self._since: int | None = None
        self._size = self._end = 0
        self.lock = threading.RLock()
        """To hold while asking: another thread may bring the cube up to date meanwhile."""
        self._allocate(adapters=1, pairs=1)

    # --- asking

    def visible(self, owners: Collection[int] | None) -> Mask:
        """Return who may be seen: the public, and those of these owners; None stands for all."""
        if owners is None:
            return self._state[: self._size] > ABSENT
        mask: Mask = self._state[: self._size] == PUBLIC
        for owner in owners:
            mask |= (self._owner[: self._size] == owner) & (self._state[: self._size] > ABSENT)
        return mask

    def owned(self, owner: int) -> Mask:
        mask: Mask = self._owner[: self._size] == owner
        return mask

    def having(self, tokens: Iterable[str]) -> Mask:
        """Return which adapters have at least one of these values."""
        mask = np.zeros(self._size, bool)
        for token in tokens:
            if (code := self._codes.get(token)) is not None:
                mask[self._row[: self._end][self._code[: self._end] == code]] = True
        return mask

    def among(self, ids: Sequence[int]) -> Mask:
        mask = np.zeros(self._size, bool)
        found = np.fromiter(ids, np.int64, len(ids))
        mask[found[found < self._size]] = True
        return mask

    def counts(self, mask: Mask) -> dict[str, int]:
        """Return how many of the adapters have each value, by its token."""
        codes = self._codes_of(mask)
        totals = np.bincount(codes, minlength=len(self.tokens))
        totals[_DEAD] = 0
        present = np.flatnonzero(totals)
        return {
            self.tokens[code]: total
            for code, total in zip(present.tolist(), totals[present].tolist(), strict=True)
        }

    def _codes_of(self, mask: Mask) -> Codes:
        chosen = np.flatnonzero(mask)
        lengths = self._length[chosen]
        total = int(lengths.sum())
        if total * _SMALL > self._end:
            return self._code[: self._end][mask[self._row[: self._end]]]
        # Of each adapter the places start, start + 1, ...: counting on, less where each one begins.
        first = self._start[chosen] - (np.cumsum(lengths) - lengths)
        return self._code[np.repeat(first, lengths) + np.arange(total)]

    # --- keeping up

    def refresh(self, session: Session) -> None:
        """Read what changed since the last time; the first time everything."""
        with self.lock:
            until, since = _SQLITE if _is_sqlite(session) else _POSTGRESQL
            query = _ROWS.format(until=until)
            if self._since is not None:
                query += _CHANGED.format(since=since)
            rows = session.execute(text(query), {"since": self._since}).all()
            if rows:
                self._put(rows)
                self._since = rows[0].until

    def _put(self, rows: Sequence[Any]) -> None:
        found = [
            (row, [self._code_of(token) for token in row.facet_tokens.split()]) for row in rows
        ]
        pairs = sum(len(codes) for _, codes in found)
        self._make_room(max(row.id for row in rows) + 1, pairs)
        for row, codes in found:
            self._kill(row.id)
            end = self._end + len(codes)
            self._row[self._end : end] = row.id
            self._code[self._end : end] = codes
            self._start[row.id], self._length[row.id] = self._end, len(codes)
            self._owner[row.id] = row.owner_id
            self._state[row.id] = _state(row)
            self._end = end

    def _code_of(self, token: str) -> int:
        code = self._codes.get(token)
        if code is None:
            code = self._codes[token] = len(self.tokens)
            self.tokens.append(token)
        return code

    def _kill(self, adapter: int) -> None:
        start, length = int(self._start[adapter]), int(self._length[adapter])
        self._row[start : start + length] = 0
        self._code[start : start + length] = _DEAD

    def _make_room(self, adapters: int, pairs: int) -> None:
        size = max(self._size, adapters)
        if size > len(self._state) or self._end + pairs > len(self._code):
            self._rebuild(2 * size, pairs)
        self._size = size

    def _rebuild(self, adapters: int, pairs: int) -> None:
        """Make the arrays longer, and leave out what is dead."""
        alive = self._code[: self._end] != _DEAD
        row, code = self._row[: self._end][alive], self._code[: self._end][alive]
        owner, state, length = self._owner, self._state, self._length
        self._allocate(adapters, 2 * (len(row) + pairs))
        self._end = len(row)
        self._row[: self._end], self._code[: self._end] = row, code
        for new, old in ((self._owner, owner), (self._state, state), (self._length, length)):
            new[: len(old)] = old
        self._index_starts()

    def _index_starts(self) -> None:
        rows = self._row[: self._end]
        begins = np.flatnonzero(np.diff(rows, prepend=-1))
        self._start[rows[begins]] = begins

    def _allocate(self, adapters: int, pairs: int) -> None:
        self._size, self._end = 1, 0
        self._owner: Numbers = np.zeros(adapters, np.int64)
        self._start: Numbers = np.zeros(adapters, np.int64)
        self._length: Numbers = np.zeros(adapters, np.int64)
        self._state: NDArray[np.uint8] = np.zeros(adapters, np.uint8)
        self._row: Numbers = np.zeros(pairs, np.int64)
        self._code: Codes = np.zeros(pairs, np.int32)


def _state(row: Any) -> int:
    if row.removed_at is not None:
        return ABSENT
    return PUBLIC if row.visibility == "public" else PRIVATE


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
