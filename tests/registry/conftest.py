"""Every test that asks for `engine` or `session` runs on SQLite and on PostgreSQL."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from registry import accounts, db, evaluators, search, statements
from registry.blobs import FolderBlobs
from registry.search_query import SearchQuery
from tests.support import databases, shelf
from tests.support.postgres import running_postgres


@pytest.fixture(scope="session")
def postgres():
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "hub.sqlite3"
    databases.migrate_sqlite(path)
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres):
    name = postgres.create_database()
    with databases.opened(postgres.url(name)) as engine:
        db.migrate(engine)
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    """A fresh database with the schema of today."""
    if request.param == "sqlite":
        copy = databases.sqlite_copy(request.getfixturevalue("migrated_sqlite"), tmp_path)
    else:
        server, template = map(request.getfixturevalue, ("postgres", "migrated_postgres"))
        copy = databases.postgres_copy(server, template)
    with copy as engine:
        yield engine


@pytest.fixture
def session(engine):
    """A writing session whose transaction the test may commit; else it is rolled back."""
    with Session(engine, expire_on_commit=False) as session:
        yield session


@pytest.fixture
def blobs(tmp_path):
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def ana(session):
    """A user."""
    return accounts.create_user(session, "ana")


@pytest.fixture
def ben(session):
    """Another user, with no rights in the first one's name."""
    return accounts.create_user(session, "ben")


@pytest.fixture
def operator(session):
    """Who may do everything."""
    return accounts.create_user(session, "root", operator=True)


@pytest.fixture
def private():
    """The private key of an evaluator."""
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def key(session, ana, private):
    """Its public half, registered as ana's and not approved yet."""
    return evaluators.register(session, statements.public_key(private), "nightly", ana)


@pytest.fixture
def add(session, blobs):
    """Put an adapter with one version on the shelf."""

    def add(name, title="", summary="", *, version="1.0.0", visibility="public", **fields):
        downloads, card = fields.pop("downloads", 0), fields.pop("card", "")
        adapter = shelf.add_adapter(
            session,
            blobs,
            name,
            card=card or f"# {title}\n\n{summary}\n",
            visibility=visibility,
            downloads=downloads,
        )
        if version:
            licence, tasks = fields.pop("licence", None), fields.pop("tasks", [])
            described = shelf.fields(title=title, summary=summary, licence=licence, tasks=tasks)
            shelf.add_version(session, adapter, version, **({"card": described} | fields))
        return adapter

    return add


@pytest.fixture
def find(session):
    """Return the names of what a search finds, in their order."""

    def find(text="", viewer=None, **fields):
        query = SearchQuery(text=text, **fields)
        return [hit.name for hit in search.search(session, query, viewer).hits]

    return find
