"""Scrubbing finds every kind of damage, names who suffers, and can keep it from spreading."""

import pytest
from sqlalchemy import delete, select

from registry import base_models, gc, publish, revisions, scrub
from registry.models import AuditEntry, RevisionFile, Version
from registry.scrub import Fault
from tests.registry.test_publish import REGISTRATION, folder, upload

REF = "ana/ner@1.0.0"


@pytest.fixture
def weights(session, blobs, ana):
    """The sha256 of the weights of a published version."""
    base_models.register(session, REGISTRATION, ana)
    adapter = revisions.create_adapter(session, ana, "ana/ner")
    revision = upload(session, blobs, adapter, folder())
    publish.publish_revision(session, blobs, adapter, revision.id, None, ana)
    sha256 = next(f.sha256 for f in revision.files if f.path == "adapter.safetensors")
    session.commit()
    return sha256


def lose(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def grow(path):
    path.write_bytes(path.read_bytes() + b"x")


def test_a_sound_hub_has_no_fault(engine, blobs, weights):
    done = scrub.scrub(engine, blobs)
    assert done.faults == []
    assert (done.blobs, done.versions) == (6, 1)
    assert done.bytes == sum(entry.size for entry in blobs.entries())


@pytest.mark.parametrize(
    ("damage", "kind"), [(lose, "missing"), (cut, "short"), (flip, "corrupt"), (grow, "corrupt")]
)
def test_damage_is_named_with_the_versions_that_suffer(engine, blobs, weights, damage, kind):
    damage(blobs.path(weights))
    (fault,) = scrub.scrub(engine, blobs).faults
    assert (fault.kind, fault.subject, fault.versions) == (kind, weights, (REF,))


def test_a_version_without_a_file_of_its_manifest_is_named(engine, session, blobs, weights):
    session.execute(delete(RevisionFile).where(RevisionFile.path == "adapter.safetensors"))
    session.commit()
    detail = "not as its manifest says: adapter.safetensors"
    assert scrub.scrub(engine, blobs).faults == [Fault("incomplete", REF, detail, (REF,))]


def test_quarantine_moves_bytes_aside_withdraws_versions_and_a_new_upload_mends(
    engine, session, blobs, weights
):
    flip(blobs.path(weights))
    assert len(scrub.scrub(engine, blobs, quarantine=True).faults) == 1
    assert not blobs.exists(weights)
    assert (blobs.folder / "quarantine" / weights).exists()
    session.expire_all()
    assert session.scalars(select(Version.state)).all() == ["quarantined"]
    assert "version.quarantined" in session.scalars(select(AuditEntry.action)).all()
    session.commit()

    for data in folder().contents().values():
        blobs.store([data])
    assert scrub.scrub(engine, blobs, quarantine=True).faults == []


def test_a_blob_that_is_collected_while_it_is_read_is_no_fault(
    engine, session, blobs, weights, monkeypatch
):
    adapter = session.get_one(Version, 1).adapter
    upload(session, blobs, adapter, folder(seed=1), "incoming/2")
    session.commit()
    read = blobs.stream

    def stream(sha256):
        gc.collect(engine, blobs, gc.GRACE * 0)
        return read(sha256)

    monkeypatch.setattr(blobs, "stream", stream)
    assert scrub.scrub(engine, blobs).faults == []
