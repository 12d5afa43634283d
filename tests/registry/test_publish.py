import io
import threading

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry import base_models, publish, revisions
from registry.errors import (
    BaseModelNotFound,
    InvalidName,
    InvalidPackage,
    RevisionNotFound,
    VersionExists,
    WrongVersionNumber,
)
from registry.models import Account, Adapter, AuditEntry, Manifest, SearchDocument, Version
from tests.support.packages import CARD, HEAD, bert, gpt2, make_folder, noise, registration

BASE = bert()
REGISTRATION = registration(BASE)
IDENTITY = REGISTRATION.identity.model_dump()


@pytest.fixture
def adapter(session, ana):
    base_models.register(session, REGISTRATION, ana)
    return revisions.create_adapter(session, ana, "ana/ner")


def folder(**options):
    return make_folder(BASE, **({"identity": IDENTITY, "head": HEAD} | options))


def upload(session, blobs, adapter, made, branch="incoming/1"):
    """Send a folder's files as a client does, and return the revision."""
    operations = []
    for path, data in made.contents().items():
        stored = blobs.store(io.BytesIO(data))
        revisions.record_upload(session, adapter, stored)
        operations.append(revisions.Add(path, stored.sha256))
    return revisions.commit(
        session, adapter, branch, operations, title="Upload", author=adapter.owner
    )


@pytest.fixture
def send(session, blobs, adapter):
    """Upload a folder and publish it; a fresh incoming branch each time."""
    branches = (f"incoming/{number}" for number in range(100))

    def send(made, number=None, branch=None):
        revision = upload(session, blobs, adapter, made, branch or next(branches))
        return publish.publish_revision(session, blobs, adapter, revision.id, number, adapter.owner)

    return send


def count(session, model):
    return session.scalar(select(func.count()).select_from(model))


def main(session, adapter):
    return revisions.resolve_revision(session, adapter, "main").id


# --- what publishing does ------------------------------------------------------------------------


def test_publishing_makes_version_manifest_tag_search_row_and_audit_entry(session, adapter, send):
    published = send(folder(), "1.2.0")
    version = published.version
    assert published.created
    assert (version.number, version.state, version.kind) == ("1.2.0", "live", "task")
    assert (version.method, version.base_name) == ("seq_bn", "tiny/bert")
    assert version.structure == IDENTITY["structure"]
    assert version.published_by is adapter.owner

    manifest = session.get_one(Manifest, (adapter.id, version.revision_id))
    assert manifest.content == version.content
    assert manifest.document["schema"] == "hub.manifest/1"
    assert revisions.resolve_revision(session, adapter, "v1.2.0").id == version.revision_id
    assert session.scalars(select(SearchDocument)).one().facets["method"] == ["seq_bn"]
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "version.publish")).one()
    assert (entry.actor, entry.subject) == ("ana", "ana/ner@1.2.0")


def test_main_moves_to_what_came_by_a_push_and_the_pushs_branch_goes(session, adapter, send):
    version = send(folder(), branch="incoming/x").version
    assert main(session, adapter) == version.revision_id
    assert revisions.branch_head(session, adapter, "incoming/x") is None


def test_main_stays_where_its_own_commits_brought_it(session, adapter, blobs):
    first = upload(session, blobs, adapter, folder(), "main")
    second = upload(session, blobs, adapter, folder(seed=2), "main")
    publish.publish_revision(session, blobs, adapter, first.id, "1.0.0", adapter.owner)
    assert main(session, adapter) == second.id


def test_a_correction_of_an_older_line_moves_neither_main_nor_the_card(session, adapter, send):
    send(folder(), "1.0.0")
    send(folder(seed=2), "2.0.0")
    latest = main(session, adapter)
    old = CARD.replace("An adapter", "The older line")
    send(folder(card=old), "1.0.1")
    assert main(session, adapter) == latest
    assert session.scalars(select(SearchDocument)).one().title == "An adapter"


def test_numbers_follow_from_what_changed(send):
    assert send(folder()).version.number == "1.0.0"
    assert send(folder(card="# Other words")).version.number == "1.0.1"
    assert send(folder(seed=1)).version.number == "1.1.0"
    relabelled = HEAD | {"label2id": {"bad": 0, "good": 1}}
    assert send(folder(seed=1, head=relabelled)).version.number == "2.0.0"


def test_a_branch_may_be_named_instead_of_a_revision(session, adapter, blobs):
    revision = upload(session, blobs, adapter, folder(), "incoming/abc")
    published = publish.publish_revision(
        session, blobs, adapter, "incoming/abc", None, adapter.owner
    )
    assert published.version.revision_id == revision.id


def test_one_revision_may_have_two_numbers(session, adapter, blobs, send):
    first = send(folder(), "1.0.0").version
    again = publish.publish_revision(
        session, blobs, adapter, first.revision_id, "1.5.0", adapter.owner
    )
    assert again.created
    assert again.version.revision_id == first.revision_id
    assert count(session, Manifest) == 1


# --- repeats and refusals ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [None, "1.0.0"])
def test_the_same_files_again_answer_the_same_version(session, send, number):
    first = send(folder(), number)
    again = send(folder(), number)
    assert again.version is first.version
    assert not again.created
    assert count(session, Version) == 1


def test_another_card_under_the_same_number_is_another_version(send):
    send(folder(), "1.0.0")
    with pytest.raises(VersionExists, match=r"ana/ner 1\.0\.0 is already published"):
        send(folder(card="# Other words"), "1.0.0")


def test_too_small_a_step_is_refused_with_the_number_to_use(send):
    send(folder(), "1.0.0")
    with pytest.raises(WrongVersionNumber, match=r"use 1\.1\.0") as refusal:
        send(folder(seed=1), "1.0.1")
    assert "tensor" in refusal.value.reason
    assert send(folder(seed=1), refusal.value.use).created


def test_a_number_of_a_withdrawn_version_is_never_used_again(session, send):
    send(folder(), "1.0.0")
    yanked = send(folder(seed=1), "1.1.0").version
    yanked.state = "yanked"
    session.flush()
    assert send(folder(seed=2)).version.number == "1.2.0"
    with pytest.raises(VersionExists):
        send(folder(seed=3), "1.1.0")


@pytest.mark.parametrize("number", ["1.0", "latest", "1.0.0-rc1"])
def test_what_is_no_number_is_refused(send, number):
    with pytest.raises(InvalidName, match="no version number"):
        send(folder(), number)


def test_a_revision_that_is_not_there_is_refused(session, adapter, blobs):
    with pytest.raises(RevisionNotFound):
        publish.publish_revision(session, blobs, adapter, "f" * 40, None, adapter.owner)


def test_a_refused_revision_stays_and_has_no_version(session, adapter, send):
    broken = folder()
    broken.tensors.popitem()
    before = main(session, adapter)
    with pytest.raises(InvalidPackage, match=r"adapter\.safetensors: tensor"):
        send(broken, branch="incoming/broken")
    assert main(session, adapter) == before
    assert revisions.branch_head(session, adapter, "incoming/broken") is not None
    assert count(session, Version) == count(session, Manifest) == 0


def test_without_a_registered_base_there_is_no_version_and_the_error_says_how(send):
    other = gpt2()
    identity = registration(other, name="tiny/gpt2").identity.model_dump()
    with pytest.raises(BaseModelNotFound, match=r"tiny/gpt2 is registered.*hubctl push"):
        send(make_folder(other, identity=identity))


def test_faults_of_the_folder_are_told_before_those_of_its_base(send):
    identity = registration(gpt2(), name="tiny/gpt2").identity.model_dump()
    made = make_folder(gpt2(), identity=identity)
    name = next(iter(made.tensors))
    made.tensors[name] = noise(made.tensors[name].shape, "I64", 1)
    with pytest.raises(InvalidPackage, match="I64"):
        send(made)


def test_a_base_known_by_name_only_gives_a_version_with_a_warning(send):
    published = send(make_folder(BASE))
    assert published.version.base_name == "tiny/bert"
    assert published.version.structure == IDENTITY["structure"]
    assert any("by its name only" in warning for warning in published.warnings)


# --- at once -------------------------------------------------------------------------------------

PUSHES = 8


def at_once(engine, blobs, folders, number):
    """Publish folders from as many threads at the same moment; return what came of each."""
    with Session(engine) as session, session.begin():
        ana = session.scalars(select(Account)).one()
        base_models.register(session, REGISTRATION, ana)
        adapter = revisions.create_adapter(session, ana, "ana/ner")
        sent = [
            upload(session, blobs, adapter, made, f"incoming/{index}").id
            for index, made in enumerate(folders)
        ]
    outcomes = [None] * len(sent)
    start = threading.Barrier(len(sent))

    def push(index):
        start.wait()
        try:
            with Session(engine) as session, session.begin():
                adapter = session.scalars(select(Adapter)).one()
                published = publish.publish_revision(
                    session, blobs, adapter, sent[index], number, adapter.owner
                )
                outcomes[index] = (published.created, published.version.number)
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            outcomes[index] = error

    threads = [threading.Thread(target=push, args=(index,)) for index in range(len(sent))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.fixture
def committed(session, ana):
    """Ana's account, for other connections to see."""
    session.commit()
    return ana


@pytest.mark.usefixtures("committed")
def test_of_8_different_pushes_under_one_number_one_succeeds(engine, blobs):
    outcomes = at_once(engine, blobs, [folder(seed=seed) for seed in range(PUSHES)], "1.0.0")
    assert outcomes.count((True, "1.0.0")) == 1
    assert sum(isinstance(outcome, VersionExists) for outcome in outcomes) == PUSHES - 1


@pytest.mark.usefixtures("committed")
@pytest.mark.parametrize("number", ["1.0.0", None])
def test_of_8_equal_pushes_all_succeed_with_one_row(engine, blobs, number):
    outcomes = at_once(engine, blobs, [folder() for _ in range(PUSHES)], number)
    assert outcomes.count((True, "1.0.0")) == 1
    assert outcomes.count((False, "1.0.0")) == PUSHES - 1
    with Session(engine) as session:
        assert count(session, Version) == 1


@pytest.mark.usefixtures("committed")
def test_8_different_pushes_without_a_number_get_8_numbers(engine, blobs):
    outcomes = at_once(engine, blobs, [folder(seed=seed) for seed in range(PUSHES)], None)
    assert sorted(outcomes) == [(True, f"1.{minor}.0") for minor in range(PUSHES)]
