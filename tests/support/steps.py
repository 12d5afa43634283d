"""Every step of a server that others could see, or that lasts: counted, so that it can end there.

Nothing of this is in the server: the functions of the system are wrapped, SQLAlchemy and ASGI have
events for the rest. The step is announced before it is done; that after which nothing follows is
the answer, of which both ends are announced.
"""

import os
from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.orm import Session

from registry.blobs import Draft

Announce = Callable[[str], None]
FILE_CALLS = ("fsync", "replace", "unlink", "mkdir")


def install(app, announce: Announce):
    """Announce the steps of this process; returns the ASGI application to run."""
    for name in FILE_CALLS:
        setattr(os, name, _announced(getattr(os, name), name, announce))
    Draft.write = _announced(Draft.write, "write", announce)
    engine = app.state.engine

    def before(_connection, _cursor, statement, *_rest):
        announce(f"statement {' '.join(statement.split()[:3])}")

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "commit", lambda _connection: announce("commit"))
    event.listen(Session, "after_commit", lambda _session: announce("committed"))
    return _answering(app, announce)


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
