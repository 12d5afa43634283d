"""Garbage collection takes what nobody refers to, and nothing else, whoever is at work."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from registry import base_models, db, gc, publish, revisions, scrub, uploads
from registry.blobs import BucketBlobs, FolderBlobs
from registry.errors import BlobMissing, RevisionNotFound
from registry.models import Account, Adapter, Blob, Ref, Revision, Upload, Version
from tests.registry.test_publish import REGISTRATION, folder, upload
from tests.support.buckets import s3_bucket

NOW = timedelta(0)


@pytest.fixture(scope="session")
def bucket():
    with s3_bucket() as open_bucket:
        yield open_bucket


@pytest.fixture(params=["folder", "s3"])
def blobs(request, tmp_path):
    if request.param == "folder":
        return FolderBlobs(tmp_path / "blobs")
    return BucketBlobs(request.getfixturevalue("bucket")())


@pytest.fixture
def adapter(session, ana):
    base_models.register(session, REGISTRATION, ana)
    adapter = revisions.create_adapter(session, ana, "ana/ner")
    session.commit()
    return adapter


def count(session, model):
    return session.scalar(select(func.count()).select_from(model))


def stored(blobs):
    return {entry.sha256 for entry in blobs.entries()}


def test_a_published_version_keeps_everything(engine, session, blobs, adapter):
    revision = upload(session, blobs, adapter, folder())
    publish.publish_revision(session, blobs, adapter, revision.id, None, adapter.owner)
    session.commit()
    before = stored(blobs)
    assert gc.collect(engine, blobs, NOW) == gc.Collected()
    assert stored(blobs) == before
    assert scrub.scrub(engine, blobs).faults == []


def test_a_push_without_a_version_goes_with_its_revision_rows_and_bytes(
    engine, session, blobs, adapter
):
    kept = upload(session, blobs, adapter, folder(), "main")
    upload(session, blobs, adapter, folder(seed=1), "incoming/1")
    shared = {file.sha256 for file in kept.files}
    session.commit()
    done = gc.collect(engine, blobs, NOW)
    assert (done.branches, done.blobs, done.files) == (1, 2, 2)  # the weights: adapter and head
    assert done.bytes > 0
    assert stored(blobs) == shared
    with Session(engine) as fresh:
        assert set(fresh.scalars(select(Blob.sha256))) == shared
        assert set(fresh.scalars(select(Upload.sha256))) == shared
        assert list(fresh.scalars(select(Ref.name))) == ["main"]
        assert count(fresh, Revision) == 2


def test_what_is_younger_than_the_grace_stays(engine, session, blobs, adapter):
    upload(session, blobs, adapter, folder())
    session.commit()
    blobs.store([b"its upload has no row yet"])
    with blobs.draft() as draft:
        draft.write(b"x")
        draft.keep_part("upload", 1)
    before = stored(blobs)
    assert gc.collect(engine, blobs) == gc.Collected()
    assert stored(blobs) == before
    assert b"".join(blobs.read_part("upload", 1)) == b"x"


def test_bytes_without_a_row_go_and_so_do_parts(engine, session, blobs, adapter):
    sha256 = blobs.store([b"killed before the row"]).sha256
    with blobs.draft() as draft:
        draft.write(b"x")
        draft.keep_part("upload", 1)
    done = gc.collect(engine, blobs, -timedelta(seconds=2))  # a bucket's times are whole seconds
    assert (done.files, done.bytes, done.leftovers) == (1, 21, 1)
    assert not blobs.exists(sha256)
    with pytest.raises(BlobMissing):
        blobs.read_part("upload", 1)
    assert count(session, Blob) == 0  # the row that kept others out was never committed


def test_a_row_that_was_asked_for_again_is_young_again(engine, session, blobs, adapter):
    blob = blobs.store([b"content"])
    revisions.record_upload(session, adapter, blob)
    session.execute(update(Blob).values(stored_at=datetime(2020, 1, 1, tzinfo=UTC)))
    uploads.renew(session, {blob.sha256})
    session.commit()
    assert gc.collect(engine, blobs).blobs == 0


def test_a_draft_goes_only_when_nobody_writes_it(engine, tmp_path):
    blobs = FolderBlobs(tmp_path / "blobs")
    (blobs.drafts / "tmp-of-a-killed-server").write_bytes(b"half")
    with blobs.draft() as draft:
        draft.write(b"going on")
        assert gc.collect(engine, blobs, NOW).leftovers == 1
        kept = draft.keep()
    assert blobs.read(kept.sha256) == b"going on"
    assert list(blobs.drafts.iterdir()) == []


def test_a_revision_that_others_build_on_stays(engine, session, blobs, adapter):
    first = upload(session, blobs, adapter, folder(), "incoming/1")
    revisions.branch(session, adapter, "kept", first, adapter.owner)
    session.commit()
    assert gc.collect(engine, blobs, NOW) == gc.Collected(branches=1)
    session.expire_all()
    assert revisions.resolve_revision(session, adapter, "kept").id == first.id


# --- between the steps of others -----------------------------------------------------------------


def test_bytes_that_go_before_their_row_is_made_are_asked_for_again(
    engine, session, blobs, adapter
):
    blob = blobs.store([b"content"])
    blobs.delete(blob.sha256)  # a collection without grace, between the bytes and the row
    with pytest.raises(BlobMissing, match="send them again"):
        uploads.receive(session, blobs, adapter, [blob])


def test_a_commit_whose_blob_was_collected_asks_for_it(engine, session, blobs, adapter):
    blob = blobs.store([b"content"])
    revisions.record_upload(session, adapter, blob)
    session.commit()
    assert gc.collect(engine, blobs, NOW).blobs == 1
    add = revisions.Add("a.txt", blob.sha256)
    with pytest.raises(BlobMissing, match="upload them"):
        revisions.commit(session, adapter, "main", [add], title="x", author=adapter.owner)


def test_publishing_what_was_collected_after_its_check_finds_no_revision(
    engine, session, blobs, adapter
):
    revision = upload(session, blobs, adapter, folder())
    checked = publish.check_revision(session, blobs, adapter, revision.id)
    session.commit()
    gc.collect(engine, blobs, NOW)
    with pytest.raises(RevisionNotFound):
        publish.publish_revision(
            session, blobs, adapter, revision.id, None, adapter.owner, checked=checked
        )


def test_a_collection_waits_for_a_commit_that_refers_to_its_blob(engine, blobs, adapter):
    """The commit is open when the collector looks, and refers to a blob that looks abandoned."""
    with db.sessions(engine).begin() as session:
        blob = blobs.store([b"content"])
        revisions.record_upload(session, session.merge(adapter), blob)
    done = []
    collecting = threading.Thread(target=lambda: done.append(gc.collect(engine, blobs, NOW)))
    with db.sessions(engine).begin() as session:
        mine = session.get_one(Adapter, adapter.id)
        add = revisions.Add("a.txt", blob.sha256)
        revisions.commit(session, mine, "main", [add], title="x", author=mine.owner)
        collecting.start()
        collecting.join(0.3)
        assert collecting.is_alive()
    collecting.join(30)
    assert done == [gc.Collected()]
    assert blobs.exists(blob.sha256)


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.long)])
def test_collecting_without_grace_beside_pushes_loses_nothing(
    engine, session, adapter, tmp_path, rounds
):
    """A push has to be repeated when its bytes went; it then succeeds, and all of it is there."""
    blobs = FolderBlobs(tmp_path / "blobs")
    pushing = threading.Event()
    pushing.set()

    def collect():
        while pushing.is_set():
            gc.collect(engine, blobs, NOW)

    def push(worker):
        return [
            _push_until_it_succeeds(
                engine, blobs, folder(seed=n % 3, card=f"# {worker % 2} {n}"), f"{worker}-{n}"
            )
            for n in range(rounds)
        ]

    with ThreadPoolExecutor(6) as pool:
        collecting = [pool.submit(collect) for _ in range(2)]
        published = [number for numbers in pool.map(push, range(4)) for number in numbers]
        pushing.clear()
        for future in collecting:
            future.result()
    assert len(published) == 4 * rounds
    gc.collect(engine, blobs, NOW)
    assert scrub.scrub(engine, blobs).faults == []
    session.expire_all()
    assert stored(blobs) == set(session.scalars(select(Blob.sha256)))
    assert count(session, Version) == len(set(published))


def _push_until_it_succeeds(engine, blobs, made, name):
    for _attempt in range(500):
        try:
            return _push(engine, blobs, made, f"incoming/{name}")
        except (BlobMissing, RevisionNotFound):
            continue
    raise AssertionError("a push never succeeded")


def _push(engine, blobs, made, branch):
    """Publish as the server does: bytes first, then rows; and the check apart from the record."""
    arrived = {path: blobs.store(io.BytesIO(data)) for path, data in made.contents().items()}
    sessions = db.sessions(engine)
    with sessions.begin() as session:
        adapter = session.scalars(select(Adapter)).one()
        uploads.receive(session, blobs, adapter, arrived.values())
        adds = [revisions.Add(path, blob.sha256) for path, blob in arrived.items()]
        revision = revisions.commit(
            session, adapter, branch, adds, title="x", author=adapter.owner
        ).id
    with db.reading_sessions(engine).begin() as session:
        adapter = session.scalars(select(Adapter)).one()
        checked = publish.check_revision(session, blobs, adapter, revision)
    with sessions.begin() as session:
        adapter = session.scalars(select(Adapter)).one()
        ana = session.scalars(select(Account)).one()
        done = publish.publish_revision(
            session, blobs, adapter, revision, None, ana, checked=checked
        )
        return done.version.number
