"""Folders are written whole or not at all, and nothing of the user's is ever deleted."""

import pytest

from cli import folders
from cli.failures import Failure


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    with folders.replacing(tmp_path / "new") as draft:
        (draft / "file").write_text("x")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "file").read_text() == "x"
    assert names_in(tmp_path) == ["new"]


def test_a_failure_leaves_the_former_folder_as_it_was(tmp_path):
    target = tmp_path / "setup"
    target.mkdir()
    (target / "file").write_text("before")

    def fail():
        with folders.replacing(target) as draft:
            (draft / "file").write_text("after")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()
    assert (target / "file").read_text() == "before"
    assert names_in(tmp_path) == ["setup"]


def test_an_existing_folder_is_replaced_as_one(tmp_path):
    target = tmp_path / "setup"
    target.mkdir()
    (target / "old").write_text("x")
    with folders.replacing(target) as draft:
        (draft / "new").write_text("x")
    assert names_in(target) == ["new"]
    assert names_in(tmp_path) == ["setup"]


def test_a_new_folder_can_be_read_by_whoever_may_read_others(tmp_path):
    (tmp_path / "plain").mkdir()
    with folders.replacing(tmp_path / "new"):
        pass
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_with_something_in_it_needs_force(tmp_path):
    (tmp_path / folders.ORIGIN).write_text("{}")
    with pytest.raises(Failure, match="not empty"):
        folders.check_target(tmp_path, force=False)
    folders.check_target(tmp_path, force=True)


def test_force_never_deletes_a_folder_that_was_not_pulled(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(Failure, match="not written by `hubctl pull`"):
        folders.check_target(tmp_path, force=True)


def test_an_empty_or_missing_folder_needs_nothing(tmp_path):
    folders.check_target(tmp_path, force=False)
    folders.check_target(tmp_path / "none", force=False)


def test_writing_into_a_copy_leaves_the_original_alone(tmp_path):
    """Copies are hard links, so a file must be replaced and never written over."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    folders.write_json(source / "a.json", {"a": 1})
    folders.copy_tree(source, copy)
    folders.write_json(copy / "a.json", {"a": 2})
    assert folders.read_json(source / "a.json") == {"a": 1}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/../b", "", "a\\b", "./a"])
def test_a_path_that_leaves_the_folder_is_refused(path):
    with pytest.raises(Failure, match="lies outside"):
        folders.check_path(path)


@pytest.mark.parametrize("slot", ["../x", "a/b", "", ".hidden", "a b"])
def test_a_slot_that_leaves_the_folder_is_refused(slot):
    with pytest.raises(Failure, match="name of a slot"):
        folders.check_slot(slot)


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "not valid JSON"), ("[]", "no JSON object"), ('{"a":1,"a":2}', "not valid JSON")],
)
def test_a_broken_document_is_named(tmp_path, text, says):
    (tmp_path / "hub_lock.json").write_text(text)
    with pytest.raises(Failure, match=says) as caught:
        folders.read_lock(tmp_path)
    assert "hub_lock.json" in str(caught.value)


def test_a_folder_without_a_lock_is_no_set_up(tmp_path):
    with pytest.raises(Failure, match="not a set-up folder"):
        folders.read_lock(tmp_path)


def test_a_lock_of_another_format_is_refused(tmp_path):
    (tmp_path / "hub_lock.json").write_text('{"schema": "hub.lock/9"}')
    with pytest.raises(Failure, match=r"hub\.lock/9"):
        folders.read_lock(tmp_path)


def test_two_that_write_one_folder_at_once_leave_one_whole_and_nothing_beside_it(
    tmp_path, monkeypatch
):
    target = tmp_path / "setup"
    target.mkdir()
    (target / "file").write_text("before")

    rename = type(target).rename

    def late(path, to):
        """The other one ends between our two renames."""
        if to == target and path.name.startswith(".setup.new-"):
            target.mkdir()
            (target / "file").write_text("the other's")
        return rename(path, to)

    monkeypatch.setattr(type(target), "rename", late)

    def write():
        with folders.replacing(target) as draft:
            (draft / "file").write_text("mine")

    with pytest.raises(Failure, match="at the same time"):
        write()
    assert (target / "file").read_text() == "the other's"
    assert names_in(tmp_path) == ["setup"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(Failure, match=f"cannot write to {tmp_path / 'file'}"),
        folders.replacing(tmp_path / "file" / "setup"),
    ):
        pass
