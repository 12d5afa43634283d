"""Every step of a server that others could see, or that lasts: counted, so that it can end there.

Nothing of this is in the server: the functions of the system are wrapped, SQLAlchemy and ASGI have
events for the rest. The step is announced before it is done; that after which nothing follows is
the answer, of which both ends are announced.
"""

import errno
import os
import sqlite3
from collections.abc import Callable

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from registry.blobs import Draft, told

Announce = Callable[[str], None]
FILE_CALLS = ("fsync", "replace", "unlink", "mkdir")
FAILING = {"write", "fsync", "replace", "mkdir", "statement", "commit"}


def install(app, announce: Announce):
    """Announce the steps of this process; returns the ASGI application to run."""
    for name in FILE_CALLS:
        setattr(os, name, _announced(getattr(os, name), name, announce))
    Draft.write = told()(_announced(Draft.write, "write", announce))  # as its file would fail
    engine = app.state.engine
    kind = engine.dialect.name

    def before(_connection, _cursor, statement, *_rest):
        announce(f"statement {kind} {' '.join(statement.split()[:3]).lower()}")

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "commit", lambda _connection: announce(f"commit {kind}"))
    event.listen(Session, "after_commit", lambda _session: announce("committed"))
    return _answering(app, announce)


def fail(step: str, number: int) -> None:
    """Raise what the system or the database raises in place of this step, if it can fail so."""
    name, _, of = step.partition(" ")
    kind, _, statement = of.partition(" ")
    full = number == errno.ENOSPC
    grows = name in {"write", "fsync", "mkdir", "commit"} or "insert" in statement
    if name in FAILING and (grows or not full):
        if name in {"commit", "statement"}:
            raise OperationalError(statement, None, _of_database(kind, full=full))
        raise OSError(number, os.strerror(number))


def _of_database(kind: str, *, full: bool) -> Exception:
    if kind == "postgresql":
        return (psycopg.errors.DiskFull if full else psycopg.errors.IoError)("could not write")
    error = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
    return error


def _announced(function, name: str, announce: Announce):
    def wrapped(*arguments, **options):
        announce(name)
        return function(*arguments, **options)

    return wrapped


def _answering(app, announce: Announce):
    async def wrapped(scope, receive, send):
        async def sending(message):
            announce(f"answer {message['type'].rpartition('.')[2]}")
            await send(message)

        await app(scope, receive, sending)
        if scope["type"] == "http":
            announce("answered")

    return wrapped
