"""The schema, and what a transaction promises."""

import threading

import pytest
from alembic import command
from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from registry import accounts, db
from registry.models import Account, Base
from tests.support import databases


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'new' / 'hub.sqlite3'}"
    else:
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.create_database())
    with databases.opened(url) as engine:
        yield engine


def test_the_migrations_build_exactly_the_models(engine):
    with engine.begin() as connection:
        command.check(db.alembic(connection))  # raises if autogenerate would find anything to add


def test_every_migration_can_be_taken_back(empty):
    db.migrate(empty)
    assert db.is_current(empty)

    with empty.begin() as connection:
        command.downgrade(db.alembic(connection), "base")

    assert inspect(empty).get_table_names() == ["alembic_version"]
    assert not db.is_current(empty)


def test_workers_that_start_together_migrate_once(empty):
    failures = []

    def start():
        try:
            db.migrate(empty)
        except Exception as error:  # noqa: BLE001  (whatever it is, the test must show it)
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert set(Base.metadata.tables) <= set(inspect(empty).get_table_names())


def test_writers_that_read_first_wait_for_each_other(engine):
    """Each reads, then writes what it read plus one; with a late lock some would be lost."""
    with Session(engine) as session, session.begin():
        accounts.create_user(session, "counter", full_name="0")

    def increment():
        with db.sessions(engine).begin() as session:
            row = session.scalar(select(Account).where(Account.name == "counter").with_for_update())
            row.full_name = str(int(row.full_name) + 1)

    threads = [threading.Thread(target=increment) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with Session(engine) as session:
        assert session.scalar(select(Account.full_name)) == "8"


def test_a_reader_does_not_wait_for_a_writer(engine):
    with db.sessions(engine).begin() as writer:
        accounts.create_user(writer, "ana")
        with db.reading_sessions(engine).begin() as reader:
            assert reader.scalar(select(Account.name)) is None
