"""How much one owner may keep."""

import io
import threading

import pytest
from sqlalchemy.orm import Session

from registry import accounts, db, quotas, revisions
from registry.errors import QuotaExceeded
from registry.quotas import Quotas, Usage
from registry.revisions import Add


def send(session, blobs, adapter, path, data):
    stored = blobs.store(io.BytesIO(data))
    revisions.record_upload(session, adapter, stored)
    add = Add(path, stored.sha256)
    return revisions.commit(session, adapter, "main", [add], title="t", author=adapter.owner)


def test_equal_bytes_count_once_and_removed_adapters_not_at_all(session, blobs, ana):
    one, two = (revisions.create_adapter(session, ana, f"ana/{name}") for name in ("a", "b"))
    assert quotas.usage(session, ana) == Usage(0, 2)
    send(session, blobs, one, "a.txt", b"x" * 100)
    send(session, blobs, one, "b.txt", b"x" * 100)
    send(session, blobs, two, "a.txt", b"x" * 100)
    send(session, blobs, two, "c.txt", b"y" * 10)
    assert quotas.usage(session, ana) == Usage(110, 2)
    revisions.remove(session, two, ana)
    assert quotas.usage(session, ana) == Usage(100, 1)


def test_a_commit_is_held_to_the_bytes_and_leaves_nothing(engine, blobs):
    with db.sessions(engine).begin() as session:
        revisions.create_adapter(session, accounts.create_user(session, "ana"), "ana/a")

    def push(path, data):
        with db.sessions(engine).begin() as session:
            adapter = revisions.find_adapter(session, "ana/a", None)
            with quotas.enforced(session, adapter.owner, Quotas(bytes=100)):
                send(session, blobs, adapter, path, data)

    push("a.txt", b"x" * 100)
    with pytest.raises(QuotaExceeded, match="ana would have 101 bytes here; 100 are allowed"):
        push("b.txt", b"y")
    with Session(engine) as session:
        adapter = revisions.find_adapter(session, "ana/a", None)
        main = revisions.resolve_revision(session, adapter, "main")
        assert [file.path for file in main.files] == ["a.txt"]
        assert quotas.usage(session, adapter.owner).bytes == 100


def test_who_is_over_a_bound_that_was_lowered_may_do_what_adds_nothing(session, blobs, ana):
    adapter = revisions.create_adapter(session, ana, "ana/a")
    send(session, blobs, adapter, "a.txt", b"x" * 100)
    with quotas.enforced(session, ana, Quotas(bytes=10, adapters=0)):
        send(session, blobs, adapter, "copy.txt", b"x" * 100)
    with pytest.raises(QuotaExceeded), quotas.enforced(session, ana, Quotas(bytes=10)):
        send(session, blobs, adapter, "new.txt", b"y")


def test_an_owner_is_held_to_the_number_of_adapters(session, ana):
    bound = Quotas(adapters=2)
    for name in ("a", "b"):
        with quotas.enforced(session, ana, bound):
            revisions.create_adapter(session, ana, f"ana/{name}")
    with (
        pytest.raises(QuotaExceeded, match="3 adapters here; 2"),
        quotas.enforced(session, ana, bound),
    ):
        revisions.create_adapter(session, ana, "ana/c")


def test_two_at_once_cannot_each_fill_what_is_left(engine, blobs):
    with db.sessions(engine).begin() as session:
        ana = accounts.create_user(session, "ana")
        for name in ("a", "b", "c", "d"):
            revisions.create_adapter(session, ana, f"ana/{name}")
    ended = []

    def push(name):
        try:
            with db.sessions(engine).begin() as session:
                adapter = revisions.find_adapter(session, f"ana/{name}", None)
                with quotas.enforced(session, adapter.owner, Quotas(bytes=250)):
                    send(session, blobs, adapter, "a.txt", name.encode() * 100)
            ended.append("kept")
        except QuotaExceeded:
            ended.append("refused")

    threads = [threading.Thread(target=push, args=(name,)) for name in ("a", "b", "c", "d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["kept", "kept", "refused", "refused"]
