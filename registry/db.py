"""Engines, sessions and migrations: SQLite by default, PostgreSQL for a team.

A transaction writes unless it was opened by a reading session. On SQLite a writing one takes the
write lock when it begins: two that read first and wrote later could otherwise both pass a check,
or one would fail half-way with "database is locked". PostgreSQL does the same with row locks.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from sqlite3 import SQLITE_FULL, SQLITE_IOERR
from sqlite3 import Connection as SqliteConnection
from sqlite3 import Error as SqliteError
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from registry.errors import StorageFailed, StorageFull, ValueRefused

if TYPE_CHECKING:
    import psycopg

Sessions = sessionmaker[Session]

READS = "hub_reads"
BUSY_TIMEOUT = 30
"""Seconds a SQLite writer waits for its turn; publishing holds the lock for milliseconds."""
UNBOUNDED = -1
"""A request may hold two connections; with a bound, as many at once would wait for each other."""
MIGRATION_LOCK = 0x68756263746C  # any constants of our own: they name the advisory locks
UPKEEP_LOCK = MIGRATION_LOCK + 1


def connect(url: str) -> Engine:
    """Open a database; SQLite's folder is made when missing."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        # The plain scheme means psycopg 3 here: SQLAlchemy's own default is not a dependency.
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(
            parsed, pool_pre_ping=True, max_overflow=UNBOUNDED, hide_parameters=True
        )
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    if (path := file_of(url)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    timeout = {"timeout": BUSY_TIMEOUT}
    # Parameters hold digests of tokens and hashes of passwords, which belong in no log.
    engine = create_engine(
        parsed, connect_args=timeout, max_overflow=UNBOUNDED, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def sessions(engine: Engine) -> Sessions:
    """Return a factory of writing sessions, one transaction each."""
    return sessionmaker(engine, expire_on_commit=False)


def reading_sessions(engine: Engine) -> Sessions:
    """Return a factory of sessions that never wait for a writer, and must not write."""
    return sessionmaker(engine.execution_options(**{READS: True}), expire_on_commit=False)


def insert_new(session: Session, model: type[DeclarativeBase], **values: object) -> bool:
    """Insert a row unless one with its key exists, and say whether; two at once both succeed."""
    row = insert(session, model).values(**values).on_conflict_do_nothing()
    key = model.__mapper__.primary_key[0]
    return session.scalar(row.returning(key)) is not None


def insert(session: Session, model: type[DeclarativeBase]) -> sqlite.Insert | postgresql.Insert:
    """Begin an INSERT that can say what happens when the key exists."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(model) if is_sqlite else postgresql.insert(model)


def file_of(url: str) -> Path | None:
    """Return the file of an embedded database; None for one of a server or in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return None
    return Path(str(parsed.database))


def migrate(engine: Engine, target: str = "head") -> None:
    """Bring the schema to a revision, up or down; workers that start together do it once."""
    with engine.begin() as connection:
        migrate_connection(connection, target)


def migrate_connection(connection: Connection, target: str = "head") -> None:
    """Do it in a transaction that is open already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    config = alembic(connection)
    script = ScriptDirectory.from_config(config)
    wanted = script.get_revision(target)
    # From the empty database to the newest schema: where we are and where we go in that line.
    line = [None, *(each.revision for each in reversed(list(script.walk_revisions())))]
    here = line.index(MigrationContext.configure(connection).get_current_revision())
    goes_down = line.index(wanted.revision if wanted else None) < here
    (command.downgrade if goes_down else command.upgrade)(config, target)


def revision(engine: Engine) -> str | None:
    """Return the revision of the schema; None for an empty database."""
    with engine.connect().execution_options(**{READS: True}) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """Return the revision of the schema that this code was written for."""
    return ScriptDirectory.from_config(alembic()).get_current_head()


def is_current(engine: Engine) -> bool:
    """Whether the schema is the one this code was written for."""
    return revision(engine) == head()


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Wait for, and keep out, other work that goes over the whole hub (collecting, backing up)."""
    if engine.dialect.name == "postgresql":
        lock = {"lock": UPKEEP_LOCK}
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("select pg_advisory_lock(:lock)"), lock)
            try:
                yield
            finally:
                connection.execute(text("select pg_advisory_unlock(:lock)"), lock)
    elif (path := file_of(str(engine.url))) is None:
        yield  # nobody else can have a database in memory
    else:
        with path.with_name(f"{path.name}-upkeep").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the system takes it back, however this ends
            yield


def meaning(error: DBAPIError) -> StorageFailed | ValueRefused | None:
    """Say in words that the database has no room, a failing disk, or was given no value of its own.

    None for any other error.
    """
    cause = error.orig
    if isinstance(error, DataError):
        return ValueRefused(str(cause))
    if isinstance(cause, SqliteError):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # above it, what was being done
        full, failed = code == SQLITE_FULL, code == SQLITE_IOERR
    else:
        state = str(getattr(cause, "sqlstate", ""))
        full, failed = state == "53100", state.startswith("58")
    if full:
        return StorageFull(str(cause))
    return StorageFailed(str(cause)) if failed else None


def alembic(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration for an open connection; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.attributes["connection"] = connection
    return config


def _prepare_sqlite(connection: SqliteConnection, _record: object) -> None:
    # Python's driver would begin transactions on its own, and too late (see the module docstring).
    connection.isolation_level = None
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")  # a committed publish survives a power cut
    connection.execute("pragma foreign_keys = on")
    connection.execute(f"pragma busy_timeout = {BUSY_TIMEOUT * 1000}")


def _prepare_postgresql(connection: "psycopg.Connection[Any]", _record: object) -> None:
    # A plan made for whatever word may come looks up all rows of a common one.
    connection.autocommit = True
    connection.execute("set plan_cache_mode = force_custom_plan")
    connection.autocommit = False


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(READS, False)
    connection.exec_driver_sql("begin" if reads else "begin immediate")
