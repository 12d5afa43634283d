"""Repositories of revisions: commits, branches, tags, names."""

import threading

import pytest
from sqlalchemy import func, select

from registry import accounts, db, history, revisions
from registry.acceptance import Limits
from registry.errors import (
    AdapterNotFound,
    BlobMissing,
    FileNotInRevision,
    InvalidName,
    NameTaken,
    NotAllowed,
    RevisionNotFound,
    StaleParent,
    UploadRefused,
)
from registry.models import AuditEntry, Revision
from registry.revisions import Add, Delete, DeleteFolder


@pytest.fixture
def adapter(session, ana):
    return revisions.create_adapter(session, ana, "ana/ner")


@pytest.fixture
def upload(session, blobs, adapter):
    """Send bytes to the adapter; return their digest."""

    def upload(content):
        blob = blobs.store([content])
        revisions.record_upload(session, adapter, blob)
        return blob.sha256

    return upload


@pytest.fixture
def commit(session, adapter, ana, upload):
    """Commit texts, by path, to a branch."""

    def commit(files, branch="main", *, removed=(), **options):
        operations = [Add(path, upload(text.encode())) for path, text in files.items()]
        operations += [Delete(path) for path in removed]
        options = {"title": "Change", "author": ana} | options
        return revisions.commit(session, adapter, branch, operations, **options)

    return commit


def paths(revision):
    return [file.path for file in revisions.files(revision)]


def test_a_new_adapter_has_an_empty_revision(session, adapter):
    first = revisions.resolve_revision(session, adapter, "main")
    assert (first.parent_id, paths(first)) == (None, [])


def test_a_commit_adds_to_what_is_there(session, adapter, commit):
    first = commit({"README.md": "one", "a/b.txt": "x"})
    second = commit({"README.md": "two"}, message="why")

    assert paths(second) == ["README.md", "a/b.txt"]
    assert second.parent_id == first.id
    assert revisions.resolve_revision(session, adapter, "main") is second
    assert revisions.resolve_revision(session, adapter, first.id) is first
    assert [r.id for r in history.ancestry(session, second)][:2] == [second.id, first.id]


def test_files_and_folders_can_be_removed(session, adapter, ana, commit):
    commit({"README.md": "x", "a/b.txt": "x", "a/c/d.txt": "x", "ab.txt": "x"})
    last = revisions.commit(
        session, adapter, "main", [DeleteFolder("a"), Delete("ab.txt")], title="-", author=ana
    )
    assert paths(last) == ["README.md"]
    with pytest.raises(FileNotInRevision, match=r"has no file 'ab.txt'"):
        commit({}, removed=["ab.txt"])


def test_a_commit_that_changes_nothing_is_no_commit(commit):
    assert commit({"README.md": "x"}) is commit({"README.md": "x"})


def test_equal_trees_have_equal_digests_and_revisions_have_not(commit):
    first = commit({"README.md": "x"})
    commit({"README.md": "y"})
    third = commit({"README.md": "x"})
    assert first.tree_digest == third.tree_digest
    assert first.id != third.id


def test_a_commit_on_an_old_parent_is_refused(commit):
    first = commit({"README.md": "x"})
    second = commit({"README.md": "y"}, parent=first.id[:8])
    with pytest.raises(StaleParent, match=f"main is at {second.id}, not at {first.id}"):
        commit({"README.md": "z"}, parent=first.id)


def test_a_branch_must_exist_unless_it_collects_a_push(session, adapter, commit):
    main = commit({"README.md": "x"})
    with pytest.raises(RevisionNotFound, match="no revision, branch, tag or version 'dev'"):
        commit({"a.txt": "x"}, "dev")

    pushed = commit({"a.txt": "x"}, "incoming/1")

    assert paths(pushed) == ["a.txt"]
    assert pushed.parent_id == main.id
    assert paths(commit({"b.txt": "y"}, "incoming/1")) == ["a.txt", "b.txt"]
    assert [ref.name for ref in revisions.refs(session, adapter, "branch")] == ["main"]


def test_bytes_that_were_not_sent_cannot_be_attached(session, adapter, ben, blobs):
    """Also not by somebody who knows the digest of what lies in a private adapter."""
    ana = adapter.owner
    secret = revisions.create_adapter(session, ben, "ben/secret", "private")
    blob = blobs.store([b"secret"])
    revisions.record_upload(session, secret, blob)
    add = Add("x.txt", blob.sha256)
    revisions.commit(session, secret, "main", [add], title="-", author=ben)

    for digest in (blob.sha256, "0" * 64):
        with pytest.raises(BlobMissing, match=r"x.txt .* were not uploaded"):
            revisions.commit(
                session, adapter, "main", [Add("x.txt", digest)], title="-", author=ana
            )
    revisions.set_visibility(session, secret, "public", ben)
    assert revisions.commit(session, adapter, "main", [add], title="-", author=ana)


def test_what_is_not_accepted_changes_nothing(session, adapter, commit):
    before = commit({"README.md": "x"})
    with pytest.raises(UploadRefused, match="use_safetensors=True"):
        commit({"weights.bin": "x"})
    with pytest.raises(UploadRefused, match="a revision may hold 1"):
        commit({"b.txt": "x"}, limits=Limits(revision_files=1))
    with pytest.raises(UploadRefused, match="differ only in case"):
        commit({"readme.md": "x"})
    assert revisions.resolve_revision(session, adapter, "main") is before


def test_tags_and_branches_stand_for_revisions(session, adapter, commit):
    first = commit({"README.md": "x"})
    revisions.branch(session, adapter, "feat/x", first, adapter.owner)
    revisions.tag(session, adapter, "best", first, adapter.owner)
    second = commit({"README.md": "y"}, "feat/x")

    assert revisions.resolve_revision(session, adapter, "feat/x") is second
    assert revisions.resolve_revision(session, adapter, "refs/heads/main") is first
    assert revisions.resolve_revision(session, adapter, "best") is first
    for name in ("best", "feat/x"):
        with pytest.raises(NameTaken):
            revisions.branch(session, adapter, name, first, adapter.owner)
    revisions.remove_ref(session, adapter, "branch", "feat/x", adapter.owner)
    with pytest.raises(RevisionNotFound):
        revisions.resolve_revision(session, adapter, "feat/x")


@pytest.mark.parametrize("name", ["", "a b", "-x", "a..b", "a//b", "x/", "0" * 40, "a" * 101])
def test_some_names_cannot_be_tags(session, adapter, commit, name):
    with pytest.raises(UploadRefused, match="cannot name a branch or tag"):
        revisions.tag(session, adapter, name, commit({"README.md": "x"}), adapter.owner)


def test_main_and_version_tags_stay(session, adapter, commit):
    revision = commit({"README.md": "x"})
    with pytest.raises(UploadRefused, match=r"v1\.0\.0 is a version number"):
        revisions.tag(session, adapter, "v1.0.0", revision, adapter.owner)
    revisions.point(session, adapter, "tag", "1.0.0", revision)  # as publishing does
    with pytest.raises(NotAllowed, match="never move or go"):
        revisions.remove_ref(session, adapter, "tag", "1.0.0", adapter.owner)
    with pytest.raises(NotAllowed, match="main"):
        revisions.remove_ref(session, adapter, "branch", "main", adapter.owner)


def test_last_changes_are_found_for_files_and_folders(session, commit):
    first = commit({"README.md": "x", "a/b.txt": "1", "a/c.txt": "1"})
    second = commit({"a/b.txt": "2"})
    third = commit({"d.txt": "x"})
    found = history.last_changes(session, third, ["README.md", "a", "a/b.txt", "a/c.txt", "d.txt"])
    assert found == {
        "README.md": first,
        "a": second,
        "a/b.txt": second,
        "a/c.txt": first,
        "d.txt": third,
    }


# --- names ---------------------------------------------------------------------------------------


def test_a_name_is_given_once(session, ana, ben, adapter):
    with pytest.raises(NameTaken, match="'ana/ner' is taken"):
        revisions.create_adapter(session, ana, "Ana/NER")
    with pytest.raises(InvalidName):
        revisions.create_adapter(session, ana, "ana/../x")
    with pytest.raises(AdapterNotFound):
        revisions.create_adapter(session, ana, "nobody/x")


def test_a_removed_name_is_never_free_again(session, ana, adapter):
    revisions.remove(session, adapter, ana)
    with pytest.raises(AdapterNotFound):
        revisions.find_adapter(session, "ana/ner", ana)
    with pytest.raises(NameTaken):
        revisions.create_adapter(session, ana, "ana/ner")


def test_former_names_lead_to_an_adapter(session, ana, adapter):
    other = revisions.create_adapter(session, ana, "ana/other")
    revisions.rename(session, adapter, "ana/names", ana)

    assert revisions.find_adapter(session, "ana/ner", None) is adapter
    with pytest.raises(NameTaken):
        revisions.create_adapter(session, ana, "ana/ner")
    with pytest.raises(NameTaken):
        revisions.rename(session, other, "ana/ner", ana)
    revisions.rename(session, adapter, "ana/ner", ana)  # one's own former name is free
    assert adapter.name == "ana/ner"


def test_what_one_may_not_see_is_not_there(session, ana, ben):
    revisions.create_adapter(session, ana, "ana/secret", "private")
    for viewer in (ben, None):
        with pytest.raises(AdapterNotFound, match="no adapter is called 'ana/secret' here"):
            revisions.find_adapter(session, "ana/secret", viewer)
    assert revisions.find_adapter(session, "ana/secret", ana)


def test_acts_are_noted(session, ana, adapter):
    revisions.set_visibility(session, adapter, "private", ana)
    session.flush()
    entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()[-1]
    assert (entry.actor, entry.action, entry.subject) == ("ana", "adapter.visibility", "ana/ner")
    assert entry.detail == {"to": "private"}


def test_simultaneous_commits_make_one_line_of_history(engine, blobs):
    with db.sessions(engine).begin() as session:
        ana = accounts.create_user(session, "ana")
        revisions.create_adapter(session, ana, "ana/ner")

    def push(number):
        with db.sessions(engine).begin() as session:
            ana = accounts.find(session, "ana")
            adapter = revisions.find_adapter(session, "ana/ner", ana)
            blob = blobs.store([b"%d" % number])
            revisions.record_upload(session, adapter, blob)
            add = Add(f"{number}.txt", blob.sha256)
            revisions.commit(session, adapter, "main", [add], title="-", author=ana)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with db.reading_sessions(engine).begin() as session:
        adapter = revisions.find_adapter(session, "ana/ner", None)
        last = revisions.resolve_revision(session, adapter, "main")
        assert len(paths(last)) == 8
        assert len(list(history.ancestry(session, last))) == 9
        assert session.scalar(select(func.count()).select_from(Revision)) == 9
