"""The server: the Hub protocol at the root, `/api/v1`, and the pages, over one registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from registry import db
from registry.blobs import open_blobs
from registry.downloads import DownloadCounter
from registry.settings import Settings
from web import errors, health, metrics, pages
from web.api import accounts as members
from web.api import adapters, base_models, matrix, records, resolve, scores, search, versions
from web.hub import accounts, commits, discussions, downloads, lfs, listing, repos, trees
from web.metrics import Metrics
from web.middleware import EncodedSlashes, RequestLog
from web.signing import Signer

# In the order in which they are asked: the address of a page would match almost anything.
ROUTERS = (
    health.router,
    metrics.router,
    accounts.router,
    discussions.router,
    repos.router,
    listing.router,
    trees.router,
    commits.router,
    lfs.router,
    downloads.router,
    versions.router,
    base_models.router,
    resolve.router,
    matrix.router,
    scores.router,
    records.router,
    members.router,
    adapters.router,
    search.router,
    pages.router,
)


def create_app(settings: Settings) -> FastAPI:
    """Build a server. It opens the database and brings its schema up to date."""
    app = FastAPI(
        title="Adapter hub",
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_close,
    )
    engine = db.connect(settings.database)
    if settings.migrate_on_start:
        db.migrate(engine)
    app.state.settings = settings
    app.state.engine = engine
    app.state.sessions = db.sessions(engine)
    app.state.reading_sessions = db.reading_sessions(engine)
    app.state.blobs = open_blobs(settings.blobs_url, settings.data / "blobs")
    app.state.downloads = DownloadCounter(app.state.sessions)
    app.state.signer = Signer(settings.signing_key(), settings.upload_lifetime)
    app.state.metrics = Metrics()
    # The last is asked first: routes are found in the scope that it hands on.
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    app.add_middleware(EncodedSlashes)
    errors.install(app)
    pages.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


@asynccontextmanager
async def _close(app: FastAPI) -> AsyncIterator[None]:
    with app.state.downloads:
        yield
    app.state.engine.dispose()
