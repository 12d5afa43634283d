"""Stock clients publish by a tag: `1.2.0` makes a checked version, which never moves or goes."""

import pytest
from huggingface_hub.errors import HfHubHTTPError

from tests.support.packages import HEAD, bert, make_folder, registration
from tests.web.conftest import contents

BASE = bert()
REGISTRATION = registration(BASE)


@pytest.fixture
def repo(hub, api):
    with hub.client() as client:
        body = REGISTRATION.model_dump(by_alias=True)
        client.post("/api/v1/base-models", json=body).raise_for_status()
    return api.create_repo("ana/ner").repo_id


@pytest.fixture
def upload(api, repo, tmp_path):
    """Upload an adapter to main as `hf upload` would; return the folder."""

    def upload(**changes):
        made = make_folder(
            BASE, **({"identity": REGISTRATION.identity.model_dump(), "head": HEAD} | changes)
        )
        folder = tmp_path / "adapter"
        for path, data in made.contents().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        api.upload_folder(repo_id=repo, folder_path=folder)
        return folder

    return upload


def versions(hub, repo):
    with hub.client() as client:
        return [v["number"] for v in client.get(f"/api/v1/adapters/{repo}").json()["versions"]]


@pytest.mark.parametrize("tag", ["1.0.0", "v1.0.0"])
def test_a_version_tag_publishes(hub, api, repo, upload, tmp_path, tag):
    folder = upload()
    api.create_tag(repo, tag=tag)
    assert versions(hub, repo) == ["1.0.0"]
    for name in ("1.0.0", "v1.0.0"):
        loaded = api.snapshot_download(repo, revision=name, local_dir=tmp_path / name)
        assert contents(loaded) == contents(folder)
    assert [tag.name for tag in api.list_repo_refs(repo).tags] == ["1.0.0"]
    assert f"base_model:adapter:{REGISTRATION.identity.name}" in api.model_info(repo).tags


def test_repeating_the_tag_changes_nothing(hub, api, repo, upload):
    upload()
    api.create_tag(repo, tag="1.0.0")
    api.create_tag(repo, tag="1.0.0")
    assert versions(hub, repo) == ["1.0.0"]


def test_a_version_tag_never_goes(hub, api, repo, upload):
    upload()
    api.create_tag(repo, tag="1.0.0")
    for tag in ("1.0.0", "v1.0.0"):
        with pytest.raises(HfHubHTTPError, match="never move or go"):
            api.delete_tag(repo, tag=tag)
    assert versions(hub, repo) == ["1.0.0"]


def test_a_version_tag_never_moves(hub, api, repo, upload):
    folder = upload()
    api.create_tag(repo, tag="1.0.0")
    (folder / "README.md").write_text("# Another card\n")
    api.upload_folder(repo_id=repo, folder_path=folder)
    with pytest.raises(HfHubHTTPError, match=r"1\.0\.0 is already published") as caught:
        api.create_tag(repo, tag="1.0.0")
    assert caught.value.response.status_code == 409
    api.create_tag(repo, tag="1.0.1")
    assert sorted(versions(hub, repo)) == ["1.0.0", "1.0.1"]


def test_a_wrong_number_is_refused_with_the_right_one(hub, api, repo, upload):
    upload()
    api.create_tag(repo, tag="1.0.0")
    upload(seed="other weights")
    with pytest.raises(HfHubHTTPError, match=r"1\.0\.1 is not the right number.*use 1\.1\.0"):
        api.create_tag(repo, tag="1.0.1")
    assert versions(hub, repo) == ["1.0.0"]


def test_a_truncated_adapter_gets_no_version(hub, api, repo, upload):
    folder = upload()
    weights = folder / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    api.upload_folder(repo_id=repo, folder_path=folder)
    with pytest.raises(HfHubHTTPError, match=r"adapter\.safetensors"):
        api.create_tag(repo, tag="1.0.0")
    assert versions(hub, repo) == []
    assert api.list_repo_refs(repo).tags == []
