"""A server that can be killed at any step, and is back at once. Run as a program of its own.

It reads one JSON line for each life, forks a server for it, and prints the server's process id. A
server that was killed is followed by one that lives on. The program itself only loads the code,
once, so that a life begins in milliseconds. What a life may hold:

    {"record": "path"}       write down every step
    {"kill_at": 17}          be killed before the 17th step
    {"fail_at": 17}          get an I/O error instead of the 17th step, once
    {"full_from": 17}        find the disk full from the 17th step on
    {"file_limit": 1500}     let no file grow beyond that, by the system's own limit
"""

import contextlib
import errno
import itertools
import json
import math
import os
import resource
import select
import signal
import socket
import sys

import uvicorn

from registry.settings import Settings
from tests.support import steps
from web.app import create_app


def main(listener_number: str, settings: str) -> None:
    listener = socket.socket(fileno=int(listener_number))
    app = create_app(Settings(**json.loads(settings)))
    app.state.engine.dispose()  # a connection must not be shared with a fork
    child, told = _live(app, listener, {}), b""
    while True:
        life = os.pidfd_open(child)
        ready, _, _ = select.select([life, sys.stdin.fileno()], [], [])
        if life in ready:
            os.waitpid(child, 0)
            child = _live(app, listener, {})
        else:
            told += os.read(sys.stdin.fileno(), 65536)
            if not told:
                break
            while b"\n" in told:
                line, _, told = told.partition(b"\n")
                _end(child)
                child = _live(app, listener, json.loads(line))
                os.write(sys.stdout.fileno(), f"{child}\n".encode())
        os.close(life)
    _end(child)


def _end(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _live(app, listener: socket.socket, life: dict) -> int:
    child = os.fork()
    if child:
        return child
    try:
        if limit := life.get("file_limit"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        application = steps.install(app, _announcer(life))
        config = uvicorn.Config(application, log_level="critical", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        os._exit(0)


def _announcer(life: dict) -> steps.Announce:
    count, path = itertools.count(1), life.get("record")
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if path else None
    kill_at, fail_at, full_from = (
        life.get(key, math.inf) for key in ("kill_at", "fail_at", "full_from")
    )

    def announce(step: str) -> None:
        number = next(count)
        if log is not None:
            os.write(log, f"{step}\n".encode())
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == fail_at:
            steps.fail(step, errno.EIO)
        if number >= full_from:
            steps.fail(step, errno.ENOSPC)

    return announce


if __name__ == "__main__":
    main(*sys.argv[1:])
