"""States and differences of versions, over HTTP and on pages."""

import json
from pathlib import Path

import pytest
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from registry import accounts
from tests.registry.manifests import manifest, tensor
from tests.support import shelf

VERSIONS = "/api/v1/adapters/lab/de/versions"


@pytest.fixture
def lab(hub):
    """The organisation lab with an adapter in three versions; ana administers it."""
    with hub.session() as session:
        accounts.create_organisation(session, "lab", admin=shelf.owner(session, "ana"))
        files = {"adapter_config.json": b"{}"}
        adapter = shelf.add_adapter(session, hub.blobs, "lab/de", card="# One\n", files=files)
        shelf.add_version(session, adapter, "1.0.0", **shelf.language_pack("de"))
        shelf.add_revision(session, hub.blobs, adapter, {"README.md": b"# Two\n"})
        shelf.add_version(session, adapter, "1.0.1", **shelf.language_pack("de"))
        shelf.add_revision(session, hub.blobs, adapter, {"README.md": b"# Three\n"})
        tensors = json.loads(manifest().model_dump_json())["tensors"]
        tensors["adapter.safetensors"]["up"] = tensor(7)
        shelf.add_version(session, adapter, "1.1.0", **shelf.language_pack("de", tensors=tensors))
    return hub


def card_of(api, name, **options):
    return Path(api.hf_hub_download(name, "README.md", **options)).read_text()


def member(hub, name, role):
    token = hub.add_user(name, "admin")
    with hub.session() as session:
        lab, user = accounts.find(session, "lab"), accounts.find(session, name)
        accounts.add_member(session, lab, user, role)
    return hub.client(token)


def test_who_may_move_a_version(lab):
    body = {"state": "yanked"}
    with lab.client("") as nobody, lab.client(lab.add_user("eve")) as stranger:
        assert nobody.patch(f"{VERSIONS}/1.0.0", json=body).status_code == 401
        assert stranger.patch(f"{VERSIONS}/1.0.0", json=body).status_code == 403
    with member(lab, "rita", "read") as reader, member(lab, "wim", "write") as writer:
        assert reader.patch(f"{VERSIONS}/1.0.0", json=body).status_code == 403
        answer = writer.patch(f"{VERSIONS}/1.0.0", json=body | {"reason": "wrong split"})
        assert (answer.status_code, answer.json()["reason"]) == (200, "wrong split")
        assert writer.patch(f"{VERSIONS}/1.0.0", json={"state": "removed"}).status_code == 403
        refused = writer.patch(f"{VERSIONS}/1.0.0", json={"state": "quarantined"})
        assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    with lab.client() as ana:
        assert ana.patch(f"{VERSIONS}/1.0.0", json={"state": "removed"}).status_code == 200
        gone = ana.get(f"{VERSIONS}/1.0.0")
        assert (gone.status_code, gone.json()["code"]) == (404, "version_withheld")


def test_stock_clients_get_nothing_of_what_is_withheld(lab, api, tmp_path):
    with lab.session() as session:
        accounts.create_user(session, "root", operator=True)
        root = accounts.find(session, "root")
        token = accounts.create_token(session, root, "test", "admin")
    newest = api.model_info("lab/de").sha
    with lab.client(token) as operator:
        body = {"state": "quarantined", "reason": "under examination"}
        operator.patch(f"{VERSIONS}/1.1.0", json=body).raise_for_status()
    assert api.model_info("lab/de").sha != newest
    for revision in ("1.1.0", newest):
        with pytest.raises(RevisionNotFoundError):
            api.hf_hub_download("lab/de", "adapter_config.json", revision=revision)
    assert card_of(api, "lab/de") == "# Two\n"


def test_old_names_serve_clients_after_a_move(lab, api):
    before = api.model_info("lab/de", revision="1.0.0").sha
    api.move_repo("lab/de", "ana/german")
    for name in ("lab/de", "ana/german"):
        assert api.model_info(name, revision="1.0.0").sha == before
        assert card_of(api, name, revision="1.0.0") == "# One\n"
    # Nobody else gets the old name, and the old owner's rights are gone with it.
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("lab/de")
    api.upload_file(path_or_fileobj=b"# Four\n", path_in_repo="README.md", repo_id="lab/de")
    assert card_of(api, "ana/german") == "# Four\n"


@pytest.mark.parametrize(
    ("before", "after", "summary"),
    [
        ("lab/de@1.0.0", "lab/de@1.0.1", "same weights, card changed"),
        ("lab/de@1.0.1", "lab/de@^1", "1 of 3 tensors differ"),
        ("lab/de@1.0.0", "lab/de@1.0.0", "nothing changed"),
    ],
)
def test_a_difference_is_told_from_digests(lab, before, after, summary):
    with lab.client("") as client:
        found = client.get("/api/v1/diff", params={"before": before, "after": after}).json()
    assert found["summary"] == summary


def test_the_page_compares_with_the_version_below(lab):
    with lab.client("") as client:
        text = client.get("/lab/de/compare").text
        assert "1 of 3 tensors differ" in text
        assert "<code>up</code>" in text
        card = client.get("/lab/de/compare", params={"before": "1.0.0", "after": "1.0.1"}).text
        assert "Same weights, card changed" in card
        assert client.get("/lab/de/compare?before=9.9.9").status_code == 404


def test_pages_say_why_a_version_is_not_live(lab):
    with lab.client() as ana:
        body = {"state": "deprecated", "successor": "lab/de@1.1.0", "reason": "an old vocabulary"}
        ana.patch(f"{VERSIONS}/1.0.0", json=body).raise_for_status()
        ana.patch(f"{VERSIONS}/1.0.1", json={"state": "removed"}).raise_for_status()
    with lab.client("") as client:
        old = client.get("/lab/de/versions/1.0.0").text
        assert "An old vocabulary." in old
        assert 'href="/lab/de/versions/1.1.0"' in old
        gone = client.get("/lab/de/versions/1.0.1", headers={"Accept": "text/html"})
        assert gone.status_code == 404
        assert "Version 1.0.1 of lab/de was removed." in gone.text


def test_an_adapter_whose_versions_are_all_withheld_says_so(hub):
    with hub.session() as session:
        adapter = shelf.add_adapter(session, hub.blobs, "ana/one", card="# Words of the card\n")
        shelf.add_version(session, adapter)
    with hub.client() as ana:
        path = "/api/v1/adapters/ana/one/versions/1.0.0"
        ana.patch(path, json={"state": "removed"}).raise_for_status()
        shown = ana.get("/ana/one")
        assert shown.status_code == 200
        assert "Those it had were withdrawn" in shown.text
        assert "Words of the card" not in shown.text
