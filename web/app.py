"""The server: the Hub protocol at the root, `/api/v1`, and the pages, over one registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module

from fastapi import FastAPI

from registry import db
from registry.blobs import open_blobs
from registry.settings import Settings
from web import errors
from web.middleware import EncodedSlashes, RequestLog
from web.signing import Signer

# In the order in which they are asked: a page address would match almost anything.
ROUTERS = (
    "web.hub.accounts",
    "web.hub.repos",
    "web.hub.listing",
    "web.hub.trees",
    "web.hub.commits",
    "web.hub.lfs",
    "web.hub.downloads",
    "web.api.versions",
    "web.api.base_models",
    "web.api.resolve",
    "web.api.scores",
    "web.api.adapters",
    "web.api.search",
    "web.pages",
)


def create_app(settings: Settings) -> FastAPI:
    """Build a server. It opens the database and brings its schema up to date."""
    app = FastAPI(title="Adapter hub", version="1", docs_url=None, redoc_url=None, lifespan=_close)
    engine = db.connect(settings.database)
    if settings.migrate_on_start:
        db.migrate(engine)
    app.state.settings = settings
    app.state.engine = engine
    app.state.sessions = db.sessions(engine)
    app.state.reading_sessions = db.reading_sessions(engine)
    app.state.blobs = open_blobs(settings.blobs_url, settings.data / "blobs")
    app.state.signer = Signer(settings.signing_key(), settings.upload_lifetime)
    app.add_middleware(EncodedSlashes)
    app.add_middleware(RequestLog)
    errors.install(app)
    for name in ROUTERS:
        with suppress(ImportError):
            if hasattr(module := import_module(name), "router"):
                app.include_router(module.router)
                if name == "web.pages":
                    module.install(app)
            getattr(module, "install", _nothing)(app)
    return app


def _nothing(_app: FastAPI) -> None: ...


@asynccontextmanager
async def _close(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.engine.dispose()
