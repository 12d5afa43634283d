"""Our real server on a free port of 127.0.0.1, over a fresh data folder."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx2
import uvicorn
from fastapi import FastAPI
from sqlalchemy.orm import Session

from registry import accounts
from registry.blobs import BlobStore
from registry.settings import Settings
from web.app import create_app

STARTS_WITHIN = 30


@dataclass
class RunningServer:
    """A hub with one user, `ana`, whose token may do everything in that name."""

    url: str
    token: str
    app: FastAPI

    @property
    def account(self) -> str:
        return "ana"

    @property
    def settings(self) -> Settings:
        settings: Settings = self.app.state.settings
        return settings

    @property
    def blobs(self) -> BlobStore:
        blobs: BlobStore = self.app.state.blobs
        return blobs

    def session(self) -> contextlib.AbstractContextManager[Session]:
        """Open a transaction on the server's own database; committed at the end."""
        return self.app.state.sessions.begin()

    def client(self, token: str | None = None) -> httpx2.Client:
        """Return a plain HTTP client; without a token it is ana's. `""`: nobody's."""
        token = self.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60)

    def add_user(
        self,
        name: str,
        role: accounts.Role = "write",
        lifetime: timedelta | None = None,
    ) -> str:
        """Create a user and return a token for it."""
        with self.session() as session:
            account = accounts.create_user(session, name)
            return accounts.create_token(session, account, "test", role, lifetime)


@contextlib.contextmanager
def running_server(folder: Path, **settings: object) -> Iterator[RunningServer]:
    """Start a server in a thread, and stop it. `settings` override those of `Settings`."""
    app = create_app(Settings(data=folder, secret="s" * 32, **settings))
    with app.state.sessions.begin() as session:
        account = accounts.create_user(session, "ana")
        token = accounts.create_token(session, account, "test", "admin", lifetime=None)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield RunningServer(f"http://127.0.0.1:{_port(server, thread)}", token, app)
    finally:
        server.should_exit = True
        thread.join(STARTS_WITHIN)


def _port(server: uvicorn.Server, thread: threading.Thread) -> int:
    waiting = threading.Event()
    for _ in range(STARTS_WITHIN * 100):
        if server.started:
            port: int = server.servers[0].sockets[0].getsockname()[1]
            return port
        if not thread.is_alive():
            raise RuntimeError("the server did not start; its log says why")
        waiting.wait(0.01)
    raise RuntimeError(f"the server did not start within {STARTS_WITHIN} s")
