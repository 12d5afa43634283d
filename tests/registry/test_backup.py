"""A backup is one state of a hub, whole; and a hub made from it is that hub."""

import io
import json
import threading

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import backup, base_models, db, gc, publish, revisions, scores, scrub, search
from registry.blobs import FolderBlobs
from registry.blobs.bucket import BucketBlobs
from registry.errors import BackupFailed
from registry.models import Account, Adapter, Version
from registry.schemas import ScoreIn
from tests.registry.test_publish import REGISTRATION, folder, upload
from tests.support import databases
from tests.support.buckets import s3_bucket


def push(session, blobs, number, adapter=None):
    """Publish one more version, whose card says which it is."""
    adapter = adapter or session.query(Adapter).one()
    made = folder(card=f"# Number {number}\n")
    revision = upload(session, blobs, adapter, made, f"incoming/{number}")
    return publish.publish_revision(session, blobs, adapter, revision.id, None, adapter.owner)


@pytest.fixture
def hub(engine, blobs):
    """A hub with a row in most tables; returns its engine."""
    with Session(engine) as session, session.begin():
        ana = Account(name="ana", email="ana@example.org", is_operator=True)
        session.add(ana)
        session.flush()
        base_models.register(session, REGISTRATION, ana)
        adapter = revisions.create_adapter(session, ana, "ana/ner", "private")
        adapter.downloads = 1234
        version = push(session, blobs, 1, adapter).version
        body = ScoreIn(subject=version.content, dataset="wikiann", metric="f1", value=0.5, n=10)
        scores.record(session, body, ana)
    return engine


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request, tmp_path):
    """An empty database of either kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'elsewhere' / 'hub.sqlite3'}"
    else:
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.create_database())
    with databases.opened(url) as engine:
        yield engine


@pytest.fixture
def target(tmp_path):
    return tmp_path / "backup"


def lines(folder):
    """Return every row, by table; the databases may order text differently."""
    tables = folder / json.loads((folder / "hub.json").read_text())["folder"]
    return {path.stem: sorted(path.read_text().splitlines()) for path in tables.iterdir()}


def test_a_restored_hub_holds_the_same_whatever_its_database(
    hub, blobs, target, elsewhere, tmp_path
):
    made = backup.back_up(hub, blobs, target)
    assert {"accounts", "versions", "scores", "audit_log"} <= made.tables.keys()
    new = FolderBlobs(tmp_path / "new")
    assert backup.restore(target, elsewhere, new) == made
    assert backup.back_up(elsewhere, new, tmp_path / "again").tables.keys() == made.tables.keys()
    assert lines(tmp_path / "again") == lines(target)
    assert scrub.scrub(elsewhere, new).faults == []
    with db.reading_sessions(elsewhere).begin() as session:
        ana = session.query(Account).one()
        found = search.search(session, search.SearchQuery(text="number"), ana)
        assert [hit.name for hit in found.hits] == ["ana/ner"]


def test_a_hub_moves_from_a_folder_to_a_bucket_and_back(hub, blobs, target, elsewhere, tmp_path):
    made = backup.back_up(hub, blobs, target)
    again, here = tmp_path / "again", FolderBlobs(tmp_path / "here")
    with s3_bucket() as new_bucket:
        bucket = BucketBlobs(new_bucket())
        assert backup.restore(target, elsewhere, bucket) == made
        assert scrub.scrub(elsewhere, bucket).faults == []
        with db.sessions(elsewhere).begin() as session:
            assert push(session, bucket, 2).version.number == "1.0.1"
        later = backup.back_up(elsewhere, bucket, again)
        bucket.delete(next(iter(bucket.entries())).sha256)
        with pytest.raises(BackupFailed, match="missing or damaged"):
            backup.back_up(elsewhere, bucket, tmp_path / "third")
    assert later.blobs > made.blobs
    assert backup.verify(again) == later
    url = f"sqlite:///{tmp_path / 'back' / 'hub.sqlite3'}"
    with databases.opened(url) as back:
        backup.restore(again, back, here)
        assert scrub.scrub(back, here).faults == []
        with db.reading_sessions(back).begin() as session:
            numbers = session.scalars(select(Version.number).order_by(Version.id)).all()
    assert numbers == ["1.0.0", "1.0.1"]


def test_a_restored_hub_goes_on(hub, blobs, target, elsewhere, tmp_path):
    """New rows get new ids, and the check of the number knows what was published."""
    backup.back_up(hub, blobs, target)
    new = FolderBlobs(tmp_path / "new")
    backup.restore(target, elsewhere, new)
    with db.sessions(elsewhere).begin() as session:
        assert push(session, new, 2).version.number == "1.0.1"
    assert scrub.scrub(elsewhere, new).faults == []


def test_what_is_published_meanwhile_is_in_it_whole_or_not_at_all(hub, blobs, target, tmp_path):
    begun, stop, published = threading.Event(), threading.Event(), []

    def publish_on():
        number = 1
        while not stop.is_set():
            number += 1
            with db.sessions(hub).begin() as session:
                published.append(push(session, blobs, number).version.number)
            begun.set()

    publishing = threading.Thread(target=publish_on)
    publishing.start()
    begun.wait(30)
    made = [backup.back_up(hub, blobs, target) for _ in range(3)]
    stop.set()
    publishing.join()
    assert made[0].tables["versions"]["rows"] <= made[2].tables["versions"]["rows"]
    assert backup.verify(target) == made[2]
    with databases.opened(f"sqlite:///{tmp_path / 'restored.sqlite3'}") as engine:
        new = FolderBlobs(tmp_path / "new")
        backup.restore(target, engine, new)
        done = scrub.scrub(engine, new)
        assert done.faults == []
        assert 1 <= done.versions <= len(published) + 1


def test_garbage_is_not_collected_while_blobs_are_copied(hub, blobs, target, monkeypatch):
    with db.sessions(hub).begin() as session:
        revisions.commit(
            *(session, session.query(Adapter).one(), "incoming/cut"),
            [revisions.Add("x.txt", _upload(session, blobs, b"cut"))],
            title="x", author=session.query(Account).one(),
        )  # fmt: skip
    collecting = threading.Thread(target=lambda: gc.collect(hub, blobs, gc.GRACE * 0))
    copy = backup._copy_blobs

    def copy_late(*arguments):
        collecting.start()
        collecting.join(0.3)
        assert collecting.is_alive()
        return copy(*arguments)

    monkeypatch.setattr(backup, "_copy_blobs", copy_late)
    backup.back_up(hub, blobs, target)
    collecting.join(30)
    backup.verify(target)


def _upload(session, blobs, data):
    blob = blobs.store(io.BytesIO(data))
    revisions.record_upload(session, session.query(Adapter).one(), blob)
    return blob.sha256


def test_a_second_backup_copies_only_what_is_new(hub, blobs, target):
    backup.back_up(hub, blobs, target)
    old = {path: path.stat().st_ino for path in (target / "blobs").rglob("*") if path.is_file()}
    with db.sessions(hub).begin() as session:
        push(session, blobs, 2)
    backup.back_up(hub, blobs, target)
    now = {path: path.stat().st_ino for path in (target / "blobs").rglob("*") if path.is_file()}
    assert len(now) == len(old) + 1  # the card
    assert old.items() <= now.items()
    assert len(list(target.glob("tables-*"))) == 1


def test_a_backup_that_fails_leaves_the_one_before(hub, blobs, target):
    first = backup.back_up(hub, blobs, target)
    with db.sessions(hub).begin() as session:
        push(session, blobs, 2)
    card = blobs.store([b"# Number 2\n"]).sha256
    blobs.delete(card)
    with pytest.raises(BackupFailed, match=rf"{card} is missing.*admin scrub"):
        backup.back_up(hub, blobs, target)
    assert backup.verify(target) == first
    assert len(list(target.glob("tables-*"))) == 1


def test_damage_is_found_before_anything_is_restored(hub, blobs, target, tmp_path):
    backup.back_up(hub, blobs, target)
    blob = next(path for path in (target / "blobs" / "sha256").rglob("*") if path.is_file())
    whole = blob.read_bytes()
    empty = tmp_path / "empty.sqlite3"
    with databases.opened(f"sqlite:///{empty}") as engine:

        def refused(match):
            with pytest.raises(BackupFailed, match=match):
                backup.restore(target, engine, FolderBlobs(tmp_path / "new"))
            assert db.revision(engine) is None

        blob.write_bytes(whole[:-1])
        refused("is damaged")
        blob.unlink()
        refused("is missing")
        blob.write_bytes(whole)
        rows = next(target.glob("tables-*")) / "versions.jsonl"
        text = rows.read_bytes()
        rows.write_bytes(text.replace(b"1.0.0", b"2.0.0"))
        refused(r"versions\.jsonl is damaged")
        rows.write_bytes(text)
        backup.restore(target, engine, FolderBlobs(tmp_path / "new"))
        with pytest.raises(BackupFailed, match="not empty"):
            backup.restore(target, engine, FolderBlobs(tmp_path / "new"))


def test_a_folder_that_is_no_backup_is_refused(tmp_path):
    with pytest.raises(BackupFailed, match=r"no hub\.json"):
        backup.verify(tmp_path)
