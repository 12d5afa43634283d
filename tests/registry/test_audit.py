"""The audit log: what is in it, and that it stays."""

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from registry import accounts, audit, revisions
from registry.models import AuditEntry


@pytest.fixture
def log(session, ana, ben):
    lab = accounts.create_organisation(session, "lab", admin=ana, actor=ana)
    accounts.add_member(session, lab, ben, "write", actor=ana)
    adapter = revisions.create_adapter(session, ben, "lab/x")
    revisions.rename(session, adapter, "lab/y", ana)
    revisions.set_visibility(session, adapter, "private", ana)
    revisions.remove(session, adapter, ana)
    accounts.remove_member(session, lab, ben, actor=ana)
    accounts.disable(session, ben, actor=accounts.HUB)
    session.commit()
    return session


def actions(entries):
    return [(entry.actor, entry.action, entry.subject) for entry in reversed(entries)]


def test_every_change_is_there_with_who_did_it(log):
    assert actions(audit.entries(log, limit=100)) == [
        ("hub", "account.create", "ana"),
        ("hub", "account.create", "ben"),
        ("ana", "account.create", "lab"),
        ("ana", "member.set", "lab"),
        ("ana", "member.set", "lab"),
        ("ben", "adapter.create", "lab/x"),
        ("ana", "adapter.rename", "lab/x"),
        ("ana", "adapter.visibility", "lab/y"),
        ("ana", "adapter.remove", "lab/y"),
        ("ana", "member.remove", "lab"),
        ("hub", "account.disable", "ben"),
    ]


def test_entries_are_chosen_and_paged(log):
    assert actions(audit.entries(log, actor="ben", action="adapter")) == [
        ("ben", "adapter.create", "lab/x")
    ]
    assert len(audit.entries(log, subject="lab/")) == 4
    assert len(audit.entries(log, action="member.set")) == 2
    assert audit.entries(log, action="memb") == []
    first = audit.entries(log, limit=6)
    rest = audit.entries(log, limit=6, before=first[-1].id)
    assert len(first) + len(rest) == 11


@pytest.mark.parametrize(
    "statement",
    [
        update(AuditEntry).values(actor="nobody"),
        delete(AuditEntry),
        text("update audit_log set detail = '{}' where id = 1"),
        text("delete from audit_log where id = 1"),
    ],
)
def test_the_database_refuses_to_change_it(log, statement):
    with pytest.raises(DBAPIError, match="only ever added to"):
        log.execute(statement)
    log.rollback()
    assert len(audit.entries(log, limit=100)) == 11


def test_postgresql_refuses_to_empty_it(log, engine):
    if engine.dialect.name == "postgresql":  # SQLite has no such statement
        with pytest.raises(DBAPIError, match="only ever added to"):
            log.execute(text("truncate audit_log"))
