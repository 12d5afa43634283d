"""Every migration goes down and up again under a hub that holds something."""

from sqlalchemy import MetaData, func, select

from registry import db, scrub, search
from registry.models import Account
from tests.registry.test_backup import hub

__all__ = ["hub"]

KEPT = (
    "accounts",
    "adapters",
    "blobs",
    "manifests",
    "refs",
    "revision_files",
    "revisions",
    "versions",
)


def counts(engine):
    """Return the rows of every table that the first migration made."""
    schema = MetaData()
    with engine.connect().execution_options(**{db.READS: True}) as connection:
        schema.reflect(connection, only=KEPT)
        return {
            name: connection.scalar(select(func.count()).select_from(schema.tables[name]))
            for name in KEPT
        }


def line():
    """Return every revision, the oldest first."""
    script = db.ScriptDirectory.from_config(db.alembic())
    return [each.revision for each in reversed(list(script.walk_revisions()))]


def test_each_migration_keeps_what_was_published(hub, blobs):
    before = counts(hub)
    assert all(before.values())
    revisions = line()
    for older in reversed(revisions[:-1]):
        db.migrate(hub, older)
        assert counts(hub) == before
    for newer in revisions[1:]:
        db.migrate(hub, newer)
        assert counts(hub) == before
    assert db.is_current(hub)
    assert scrub.scrub(hub, blobs).faults == []
    with db.reading_sessions(hub).begin() as session:
        ana = session.scalars(select(Account)).one()
        hits = search.search(session, search.SearchQuery(text="ner"), ana).hits
        assert [hit.name for hit in hits] == ["ana/ner"]
