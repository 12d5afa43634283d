"""Files over the Hub protocol: committed, listed and loaded by huggingface_hub itself."""

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.waiting import eventually
from tests.web.conftest import contents


@pytest.fixture
def repo(api):
    return api.create_repo("ana/x").repo_id


def add(path, text):
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=text.encode())


def test_what_was_uploaded_is_what_is_loaded(api, repo, folder, tmp_path):
    commit = api.upload_folder(repo_id=repo, folder_path=folder)
    loaded = api.snapshot_download(repo, local_dir=tmp_path / "loaded")
    assert contents(loaded) == contents(folder)
    assert api.model_info(repo).sha == commit.oid
    cached = api.snapshot_download(repo)
    assert contents(cached) == contents(folder)
    assert api.hf_hub_download(repo, "notes/one.txt").startswith(cached)


def test_uploading_the_same_again_makes_no_revision(api, repo, folder):
    first = api.upload_folder(repo_id=repo, folder_path=folder)
    assert api.upload_folder(repo_id=repo, folder_path=folder).oid == first.oid
    (folder / "README.md").write_text("# Other\n")
    second = api.upload_folder(repo_id=repo, folder_path=folder)
    assert second.oid != first.oid
    assert [c.commit_id for c in api.list_repo_commits(repo)][:2] == [second.oid, first.oid]


def test_a_cached_file_is_not_sent_again(hub, api, repo, folder, caplog):
    api.upload_folder(repo_id=repo, folder_path=folder)
    api.snapshot_download(repo)
    caplog.set_level("INFO", "hub.access")
    api.snapshot_download(repo)
    assert api.verify_repo_checksums(repo).mismatches == []
    assert eventually(lambda: "GET /api/models/ana/x/tree/" in caplog.text)  # asked last
    assert "GET /ana/x/resolve" not in caplog.text


def test_a_commit_on_an_old_parent_is_refused(api, repo):
    first = api.create_commit(repo, [add("a.txt", "1")], commit_message="1").oid
    api.create_commit(repo, [add("a.txt", "2")], commit_message="2", parent_commit=first)
    with pytest.raises(HfHubHTTPError, match="fetch it and try again") as caught:
        api.create_commit(repo, [add("a.txt", "3")], commit_message="3", parent_commit=first)
    assert caught.value.response.status_code == 412


def test_files_are_copied_and_deleted(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    operations = [
        CommitOperationCopy("adapter_model.safetensors", "copy/adapter_model.safetensors"),
        CommitOperationCopy("README.md", "copy/README.md"),
        CommitOperationDelete("empty.txt"),
        CommitOperationDelete("notes/"),
    ]
    api.create_commit(repo, operations, commit_message="Tidy up")
    assert sorted(api.list_repo_files(repo)) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "copy/README.md",
        "copy/adapter_model.safetensors",
    ]


def test_commit_messages_are_kept(api, repo):
    api.create_commit(
        repo, [add("a.txt", "é")], commit_message="Titel é", commit_description="Because"
    )
    last = api.list_repo_commits(repo)[0]
    assert (last.title, last.message, last.authors) == ("Titel é", "Because", ["ana"])


def test_branches_with_slashes_live_their_own_life(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    api.create_branch(repo, branch="feat/x")
    api.create_commit(repo, [add("b/c.txt", "1")], commit_message="1", revision="feat/x")

    assert api.file_exists(repo, "b/c.txt", revision="feat/x")
    assert not api.file_exists(repo, "b/c.txt")
    assert [f.path for f in api.list_repo_tree(repo, "b", revision="feat/x")] == ["b/c.txt"]
    assert contents(api.snapshot_download(repo, revision="feat/x"))["b/c.txt"] == b"1"
    assert {b.name for b in api.list_repo_refs(repo).branches} == {"main", "feat/x"}

    with pytest.raises(HfHubHTTPError):
        api.create_branch(repo, branch="feat/x")
    api.create_branch(repo, branch="feat/x", exist_ok=True)
    api.delete_branch(repo, branch="feat/x")
    with pytest.raises(RevisionNotFoundError):
        api.create_commit(repo, [add("a.txt", "1")], commit_message="1", revision="feat/x")
    with pytest.raises(HfHubHTTPError, match="main cannot be removed"):
        api.delete_branch(repo, branch="main")


def test_plain_tags_come_and_go(api, repo):
    oid = api.create_commit(repo, [add("a.txt", "1")], commit_message="1").oid
    api.create_tag(repo, tag="best/so-far")
    tag = api.list_repo_refs(repo).tags[0]
    assert (tag.name, tag.target_commit) == ("best/so-far", oid)
    assert api.model_info(repo, revision="best/so-far").sha == oid
    api.create_tag(repo, tag="best/so-far", exist_ok=True)
    with pytest.raises(HfHubHTTPError):
        api.create_tag(repo, tag="best/so-far")
    api.delete_tag(repo, tag="best/so-far")
    assert api.list_repo_refs(repo).tags == []


def test_a_version_tag_is_refused_for_what_is_no_adapter(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    for tag in ("1.0.0", "v1.0.0"):
        with pytest.raises(HfHubHTTPError, match=r"adapter_config\.json|base"):
            api.create_tag(repo, tag=tag)
    assert api.list_repo_refs(repo).tags == []


def test_trees_are_listed_by_folder_and_whole(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    top = {item.path: item for item in api.list_repo_tree(repo)}
    assert set(top) == {path.name for path in folder.iterdir()}
    assert {f.path for f in api.list_repo_tree(repo, recursive=True)} == set(top) | {
        "notes/one.txt"
    }
    weights = top["adapter_model.safetensors"]
    assert weights.lfs.size == weights.size
    assert weights.xet_hash is None
    expanded = {item.path: item for item in api.list_repo_tree(repo, expand=True)}
    assert expanded["notes"].last_commit.oid == api.model_info(repo).sha
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "missing"))


def test_paths_can_be_asked_for(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    found = api.get_paths_info(repo, ["README.md", "notes", "missing.txt"], expand=True)
    assert {item.path for item in found} == {"README.md", "notes"}
    assert all(item.last_commit is not None for item in found)


def test_a_file_that_is_not_there_is_remembered_as_missing(api, repo, tmp_path):
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "config.json")
    sha = api.model_info(repo).sha
    assert list((tmp_path / "cache").rglob(f".no_exist/{sha}/config.json"))


def test_a_push_is_collected_on_a_branch_of_its_own(api, repo, folder):
    """`hubctl push` starts from a clean tree; nobody sees the branch until it is published."""
    api.create_commit(repo, [add("old.txt", "1")], commit_message="1")
    commit = api.upload_folder(repo_id=repo, folder_path=folder, revision="incoming/7f3a")
    loaded = contents(api.snapshot_download(repo, revision=commit.oid))
    assert loaded == contents(folder)
    assert [branch.name for branch in api.list_repo_refs(repo).branches] == ["main"]
    assert api.list_repo_files(repo) == ["old.txt"]


def test_pull_requests_are_not_offered(api, repo, folder):
    refused = (
        lambda: api.upload_folder(repo_id=repo, folder_path=folder, create_pr=True),
        lambda: api.create_commit(repo, [add("a.md", "1")], commit_message="1", create_pr=True),
        lambda: api.create_discussion(repo, title="Why?"),
        lambda: api.get_discussion_details(repo, 1),
        lambda: api.merge_pull_request(repo, 1),
    )
    for call in refused:
        with pytest.raises(HfHubHTTPError, match=r"no pull requests.*create_branch") as caught:
            call()
        answer = caught.value.response
        assert answer.status_code == 501
        assert answer.json()["error"] == answer.headers["X-Error-Message"]
    assert list(api.get_repo_discussions(repo)) == []


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("pytorch_model.bin", b"\x80\x02", r"use_safetensors=True or run 'hubctl convert'"),
        ("adapter.safetensors", b"PK\x03\x04", "holds a zip archive"),
        ("adapter.safetensors", b"\x80\x04\x95.", "holds a pickle"),
        ("run.sh", b"echo", "not a kind of file this hub takes"),
        ("a b.txt", b"x", "is not allowed"),
    ],
)
def test_files_that_are_not_taken_are_refused_before_they_are_sent(
    api, repo, path, content, message
):
    with pytest.raises(HfHubHTTPError, match=message) as caught:
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo)
    assert caught.value.response.status_code == 422
    assert caught.value.response.request.url.path.endswith("/preupload/main")
    assert api.list_repo_files(repo) == []


def test_a_client_that_does_not_ask_first_is_refused_all_the_same(hub, api, repo):
    lines = (
        '{"key": "header", "value": {"summary": "x"}}\n'
        '{"key": "file", "value": {"content": "gAKV", "path": "x.txt", "encoding": "base64"}}\n'
    )
    with hub.client() as client:
        answer = client.post(f"/api/models/{repo}/commit/main", content=lines)
    assert answer.status_code == 422
    assert "x.txt holds a pickle" in answer.json()["error"]
    assert api.list_repo_files(repo) == []


def test_a_limit_on_files_is_told(hub, api, repo):
    hub.settings.revision_files = 3
    operations = [add(f"{number}.txt", "x") for number in range(4)]
    with pytest.raises(HfHubHTTPError, match="4 files; a revision may hold 3"):
        api.create_commit(repo, operations, commit_message="x")


# --- loading -------------------------------------------------------------------------------------


def test_a_file_can_be_read_in_ranges(hub, api, repo):
    text = "0123456789"
    api.create_commit(repo, [add("a.txt", text)], commit_message="x")
    with hub.client() as client:

        def get(byte_range, **headers):
            headers = {"Range": byte_range, **headers}
            return client.get(f"/{repo}/resolve/main/a.txt", headers=headers)

        for byte_range, part in [("0-0", "0"), ("3-5", "345"), ("8-", "89"), ("-2", "89")]:
            answer = get(f"bytes={byte_range}")
            assert (answer.status_code, answer.text) == (206, part)
            assert answer.headers["Content-Length"] == str(len(part))
        assert get("bytes=3-5").headers["Content-Range"] == "bytes 3-5/10"
        assert get("bytes=3-99").text == "3456789"
        unsatisfiable = get("bytes=10-")
        assert unsatisfiable.status_code == 416
        assert unsatisfiable.headers["Content-Range"] == "bytes */10"
        for whole in ("bytes=0-1,3-4", "lines=1-2", "bytes=-"):
            assert (get(whole).status_code, get(whole).text) == (200, text)
        etag = get("bytes=0-0").headers["ETag"]
        assert get("bytes=0-0", **{"If-Range": etag}).status_code == 206
        assert get("bytes=0-0", **{"If-Range": '"old"'}).status_code == 200


def test_a_head_tells_what_a_cache_needs(hub, api, repo, folder):
    sha = api.upload_folder(repo_id=repo, folder_path=folder).oid
    with hub.client("") as client:
        for path, etag_length in (("README.md", 40), ("adapter_model.safetensors", 64)):
            head = client.head(f"/{repo}/resolve/main/{path}")
            size = (folder / path).stat().st_size
            assert head.status_code == 200
            assert head.headers["X-Repo-Commit"] == sha
            assert head.headers["Content-Length"] == head.headers["X-Linked-Size"] == str(size)
            assert len(head.headers["ETag"].strip('"')) == etag_length
            again = client.get(
                f"/{repo}/resolve/main/{path}", headers={"If-None-Match": head.headers["ETag"]}
            )
            assert (again.status_code, again.content) == (304, b"")


def test_files_of_strangers_are_never_pages_of_ours(hub, api, repo):
    api.create_commit(repo, [add("x.txt", "<script>alert(1)</script>")], commit_message="x")
    with hub.client("") as client:
        headers = client.get(f"/{repo}/resolve/main/x.txt").headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]


def test_a_load_is_counted_once(hub, api, repo, folder, tmp_path):
    api.upload_folder(repo_id=repo, folder_path=folder)

    def downloads():
        return api.model_info(repo).downloads

    api.snapshot_download(repo, local_dir=tmp_path / "one")
    assert eventually(lambda: downloads() == 1)
    api.file_exists(repo, "adapter_config.json")
    api.hf_hub_download(repo, "README.md")
    with hub.client("") as client:
        path = f"/{repo}/resolve/main/adapter_config.json"
        client.head(path)
        client.get(path, headers={"User-Agent": "hf_hub/2.4.0"})  # a look that is no download
        assert downloads() == 1
        client.get(path, headers={"User-Agent": "hf_hub/0.36.2"})  # too old to mark downloads
    assert eventually(lambda: downloads() == 2)  # it is counted after the answer


def test_without_a_server_a_loaded_adapter_is_still_there(api, repo, folder, monkeypatch):
    api.upload_folder(repo_id=repo, folder_path=folder)
    path = api.snapshot_download(repo)
    assert api.snapshot_download(repo, local_files_only=True) == path
    with pytest.raises(LocalEntryNotFoundError):
        api.hf_hub_download("ana/other", "a.txt", local_files_only=True)
