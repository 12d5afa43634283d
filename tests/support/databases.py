"""A migrated database for each test, copied from one that was migrated once."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine

from registry import db
from tests.support.postgres import Postgres


def migrate_sqlite(path: Path) -> None:
    with opened(f"sqlite:///{path}") as engine:
        db.migrate(engine)


@contextlib.contextmanager
def sqlite_copy(template: Path, folder: Path) -> Iterator[Engine]:
    path = folder / "hub.sqlite3"
    shutil.copyfile(template, path)
    with opened(f"sqlite:///{path}") as engine:
        yield engine


@contextlib.contextmanager
def postgres_copy(postgres: Postgres, template: str) -> Iterator[Engine]:
    name = postgres.create_database(template)
    try:
        with opened(postgres.url(name)) as engine:
            yield engine
    finally:
        postgres.drop_database(name)


@contextlib.contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = db.connect(url)
    try:
        yield engine
    finally:
        engine.dispose()
