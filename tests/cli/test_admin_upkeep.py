"""`hubctl admin gc | scrub | reindex` beside a running hub."""

import pytest

from tests.support import shelf


@pytest.fixture
def admin(hub, hubctl):
    """Call a command of an operator on the data of the running hub."""
    with hub.session() as session:
        adapter = shelf.add_adapter(
            session, hub.blobs, "ana/ner", card="# Finding names\n", files={"a.txt": b"a"}
        )
        shelf.add_version(session, adapter)
        shelf.add_revision(session, hub.blobs, adapter, {"b.txt": b"b"}, branch="incoming/1")
    return lambda *words: hubctl("admin", *words, "--data", hub.settings.data)


def test_garbage_goes_after_its_grace(hub, admin):
    hub.blobs.store([b"garbage"])
    assert admin("gc", "--json").json["files"] == 0
    done = admin("gc", "--grace-hours", "0", "--json").json
    assert (done["branches"], done["blobs"], done["files"]) == (1, 1, 2)
    assert "unfinished pushes: 0" in admin("gc").out


def test_scrub_ends_with_one_when_something_is_wrong(hub, admin):
    sound = admin("scrub")
    assert (sound.code, "faults:   0" in sound.out) == (0, True)
    bad = hub.blobs.store([b"a"]).sha256
    hub.blobs.path(bad).write_bytes(b"z")
    ended = admin("scrub", "--json")
    assert ended.code == 1
    assert [(f["kind"], f["subject"]) for f in ended.json["faults"]] == [("corrupt", bad)]
    assert "ana/ner@1.0.0" in admin("scrub", "--quarantine").out
    assert admin("scrub", "--json").json["faults"][0]["kind"] == "missing"


def test_reindex_finds_again_what_the_index_had_lost(hub, admin):
    with hub.session() as session:
        session.connection().exec_driver_sql("update search_documents set title = '', card = ''")
    with hub.client() as client:
        address = "/api/v1/search?q=finding"
        assert client.get(address).json()["hits"] == []
        assert admin("reindex").out == "Indexed 1 adapter\n"
        assert [hit["name"] for hit in client.get(address).json()["hits"]] == ["ana/ner"]


def test_an_old_schema_is_said_before_anything_is_done(hub, hubctl, admin):
    assert admin("migrate", "--to", "0002").code == 0
    ended = admin("gc")
    assert (ended.code, "hubctl admin migrate" in ended.err) == (1, True)


def test_backup_check_and_restore(hub, hubctl, admin, tmp_path):
    made = admin("backup", tmp_path / "backup", "--json").json
    assert made["blobs"] == 3
    assert hubctl("admin", "restore", tmp_path / "backup", "--check", "--json").json == made
    new = tmp_path / "new"
    shown = hubctl("admin", "restore", tmp_path / "backup", "--data", new).out
    assert "blobs:" in shown
    assert hubctl("admin", "scrub", "--data", new).code == 0
    again = hubctl("admin", "restore", tmp_path / "backup", "--data", new)
    assert (again.code, "is not empty" in again.err) == (1, True)
