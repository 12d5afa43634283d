"""What an owner does with versions that were published, at the command line."""

import pytest

from registry import revisions
from tests.support import shelf


@pytest.fixture
def published(logged_in):
    """`ana/de` in two versions with different cards."""
    with logged_in.session() as session:
        adapter = shelf.add_adapter(session, logged_in.blobs, "ana/de", card="# First\n")
        shelf.add_version(session, adapter, "1.0.0", **shelf.language_pack("de"))
        shelf.add_revision(session, logged_in.blobs, adapter, {"README.md": b"# Second\n"})
        shelf.add_version(session, adapter, "1.0.1", **shelf.language_pack("de"))
    return logged_in


@pytest.mark.usefixtures("published")
def test_a_version_is_deprecated_yanked_and_taken_back(hubctl):
    words = ("--successor", "ana/de@1.0.1", "--reason", "an old card")
    done = hubctl("deprecate", "ana/de@1.0.0", *words)
    assert done.code == 0
    assert done.out.splitlines()[0] == "ana/de@1.0.0 is deprecated"
    shown = hubctl("info", "ana/de@1.0.0").out
    assert "ana/de@1.0.0 (deprecated)" in shown
    assert "an old card" in shown

    assert hubctl("yank", "ana/de@1.0.1", "--json").json["state"] == "yanked"
    # With its successor gone, the older one is the newest that resolves.
    assert hubctl("info", "ana/de", "--json").json["version"]["number"] == "1.0.0"
    assert hubctl("yank", "ana/de@1.0.1", "--undo").out == "ana/de@1.0.1 is live\n"
    assert hubctl("info", "ana/de", "--json").json["version"]["number"] == "1.0.1"


@pytest.mark.usefixtures("published")
def test_a_removed_version_is_named_and_stays_away(hubctl):
    assert "--yes" in hubctl("remove", "ana/de@1.0.1").err
    assert hubctl("remove", "ana/de@1.0.1", "--yes", "--reason", "not ours").code == 0
    refused = hubctl("info", "ana/de@1.0.1")
    assert refused.code == 1
    assert "version 1.0.1 of ana/de was removed: not ours" in refused.err
    back = hubctl("yank", "ana/de@1.0.1", "--undo")
    assert back.code == 3
    assert "does not come back" in back.err


@pytest.mark.usefixtures("published")
def test_the_version_must_be_said(hubctl):
    for ref in ("ana/de", "ana/de@^1"):
        ended = hubctl("yank", ref)
        assert ended.code == 1
        assert "does not say which version" in ended.err


@pytest.mark.usefixtures("published")
def test_two_versions_are_compared(hubctl):
    found = hubctl("diff", "ana/de@1.0.0", "1.0.1")
    assert found.code == 0
    assert found.out.splitlines()[0] == ("ana/de@1.0.0 -> ana/de@1.0.1: same weights, card changed")
    document = hubctl("diff", "ana/de@1.0.0", "ana/de@1.0.1", "--json").json
    assert document["files"] == {"README.md": "changed"}
    assert document["tensors"] == []


@pytest.mark.usefixtures("published")
def test_an_adapter_is_renamed_hidden_and_removed(hubctl, hub):
    assert hubctl("rename", "ana/de", "ana/german").code == 0
    assert hubctl("info", "ana/de", "--json").json["adapter"]["name"] == "ana/german"
    assert hubctl("visibility", "ana/german", "private").code == 0
    with hub.client("") as nobody:
        for name in ("ana/de", "ana/german"):
            assert nobody.get(f"/api/v1/adapters/{name}").status_code == 404
    assert hubctl("remove", "ana/german", "--yes").out.startswith("Removed ana/german")
    assert hubctl("info", "ana/german").code == 1
    with hub.session() as session, pytest.raises(Exception, match="is taken, or was once"):
        revisions.create_adapter(session, shelf.owner(session, "ana"), "ana/de")
