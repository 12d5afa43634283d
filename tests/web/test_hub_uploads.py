"""Uploads over the Hub protocol: large ones, broken ones, and those one has no right to."""

import base64
import hashlib
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from registry.acceptance import MIB
from tests.support.waiting import eventually
from tests.web.conftest import contents
from web.signing import Signer

TENSORS = (2).to_bytes(8, "little") + b"{}"

UPLOAD_LARGE = """
import sys
from pathlib import Path
from huggingface_hub import HfApi
path = Path("large.safetensors")
path.write_bytes((2).to_bytes(8, "little") + b"{}" + bytes(70 * 2**20))
print(HfApi().upload_file(repo_id="ana/x", path_or_fileobj=path, path_in_repo=path.name).oid)
"""


@pytest.fixture
def repo(api):
    return api.create_repo("ana/x").repo_id


def large_file(size=3 * MIB):
    return TENSORS + bytes(range(256)) * (size // 256)


def kept(hub):
    """Return what lies in the blob store, finished or not."""
    return [path for path in (hub.settings.data / "blobs").rglob("*") if path.is_file()]


# --- size ----------------------------------------------------------------------------------------


def test_a_large_file_needs_a_client_without_xet(hub, repo, api, run_python):
    """70 MiB, by clients as they are installed: what they send is their choice, not ours."""
    refused = run_python(UPLOAD_LARGE, check=False)
    assert refused.returncode != 0
    assert "413" in refused.stderr
    assert "HF_HUB_DISABLE_XET=1" in refused.stderr.splitlines()[-1]
    assert api.list_repo_files(repo) == []
    assert kept(hub) == []

    taken = run_python(UPLOAD_LARGE, HF_HUB_DISABLE_XET="1")
    assert taken.stdout.strip() == api.model_info(repo).sha
    info = api.get_paths_info(repo, "large.safetensors")[0]
    assert info.size == 70 * MIB + len(TENSORS)


def test_with_xet_on_files_travel_inside_the_commit(repo, api, run_python):
    run_python(UPLOAD_LARGE.replace("70", "20"))
    assert api.get_paths_info(repo, "large.safetensors")[0].size == 20 * MIB + len(TENSORS)


def test_an_inline_file_above_the_limit_is_refused_while_it_arrives(hub, repo, api):
    hub.settings.inline_limit = 1000
    body = commit_body(("a.txt", b"x" * 1001))
    with hub.client() as client:
        answer = client.post(f"/api/models/{repo}/commit/main", content=body)
    assert answer.status_code == 413
    assert "HF_HUB_DISABLE_XET=1" in answer.json()["error"]
    assert kept(hub) == []


def test_older_clients_send_large_files_by_lfs(hub, repo):
    files = [{"path": "a.safetensors", "size": 20 * MIB, "sample": ""}]
    with hub.client() as client:

        def mode(agent):
            answer = client.post(
                f"/api/models/{repo}/preupload/main",
                json={"files": [files[0] | {"sample": base64.b64encode(TENSORS).decode()}]},
                headers={"User-Agent": agent},
            )
            return answer.json()["files"][0]["uploadMode"]

        assert mode("hf_hub/0.36.2; python/3.11") == "lfs"
        assert mode("hf_hub/1.19.0; python/3.11") == "lfs"
        assert mode("hf_hub/1.20.0; python/3.11") == "regular"
        assert mode("something else") == "regular"


# The client's own habit, not ours.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("size", [3 * MIB, 3 * MIB - 10, 2 * MIB + 1])
def test_a_large_file_is_sent_in_parts(hub, api, repo, tmp_path, size):
    settings = hub.settings
    settings.inline_limit, settings.multipart_above, settings.part_size = 1000, 2 * MIB, MIB
    content = large_file(4 * MIB)[:size]
    api.upload_file(repo_id=repo, path_or_fileobj=content, path_in_repo="a.safetensors")
    loaded = api.snapshot_download(repo, local_dir=tmp_path / "loaded")
    assert contents(loaded) == {"a.safetensors": content}
    assert [path.name for path in kept(hub)] == [hashlib.sha256(content).hexdigest()]


# --- rights --------------------------------------------------------------------------------------


def batch(client, repo, content, **changes):
    item = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)} | changes
    answer = client.post(
        f"/{repo}.git/info/lfs/objects/batch",
        json={"operation": "upload", "transfers": ["basic"], "objects": [item]},
    )
    assert answer.headers["Content-Type"].startswith("application/vnd.git-lfs+json")
    return answer.json()["objects"][0]


def commit_lfs(client, repo, content, path="a.safetensors"):
    lines = [
        {"key": "header", "value": {"summary": "x"}},
        {
            "key": "lfsFile",
            "value": {
                "path": path,
                "algo": "sha256",
                "oid": hashlib.sha256(content).hexdigest(),
                "size": len(content),
            },
        },
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return client.post(f"/api/models/{repo}/commit/main", content=body)


def test_knowing_a_digest_is_not_having_the_file(hub, api, repo):
    """Else anybody could attach the content of a private adapter by its digest."""
    content = large_file()
    api.create_repo("ana/secret", private=True)
    with hub.client() as client:
        offer = batch(client, "ana/secret", content)
        client.put(offer["actions"]["upload"]["href"], content=content)
        assert commit_lfs(client, "ana/secret", content).status_code == 200
        assert "actions" not in batch(client, "ana/secret", content)

    with hub.client(hub.add_user("ben", "admin")) as stranger:
        stranger.post("/api/repos/create", json={"name": "copy"})
        assert "actions" in batch(stranger, "ben/copy", content)
        refused = commit_lfs(stranger, "ben/copy", content)
        assert (refused.status_code, refused.json()["code"]) == (422, "blob_missing")
        api.update_repo_settings("ana/secret", visibility="public")
        assert "actions" not in batch(stranger, "ben/copy", content)
        assert commit_lfs(stranger, "ben/copy", content).status_code == 200


def test_only_writers_get_upload_addresses(hub, repo):
    body = {"operation": "upload", "objects": []}
    path = f"/{repo}.git/info/lfs/objects/batch"
    with hub.client("") as nobody, hub.client(hub.add_user("ben")) as stranger:
        assert nobody.post(path, json=body).status_code == 401
        assert stranger.post(path, json=body).status_code == 403


def test_an_upload_address_is_for_one_object_and_for_a_while(hub, repo, monkeypatch):
    content, other = large_file(), large_file(2 * MIB)
    with hub.client() as client, hub.client("") as nobody:
        href = batch(client, repo, content)["actions"]["upload"]["href"]
        ticket = urlsplit(href).query.removeprefix("ticket=")

        def put(href, content):
            return nobody.put(href, content=content).status_code

        other_digest = hashlib.sha256(other).hexdigest()
        assert put(f"/api/lfs/objects/{other_digest}?ticket={ticket}", other) == 403
        assert put(href[:-1] + ("A" if href[-1] != "A" else "B"), content) == 403
        assert put(href.replace("objects", "verify"), content) == 405
        forged = Signer(b"another key", 3600).sign("send a file", adapter=1, oid="0", size=1)
        assert put(href.replace(ticket, forged), content) == 403
        now = time.time()
        monkeypatch.setattr("web.signing.time.time", lambda: now + hub.settings.upload_lifetime + 5)
        late = nobody.put(href, content=content)
        assert (late.status_code, "has expired" in late.json()["error"]) == (403, True)
        monkeypatch.undo()
        assert kept(hub) == []
        assert put(href, content) == 200


def test_a_file_above_the_limit_gets_no_address(hub, repo):
    hub.settings.file_limit = 100
    with hub.client() as client:
        offer = batch(client, repo, large_file())
    assert offer["error"] == {"code": 413, "message": "a file may have 100 bytes"}


def test_addresses_begin_with_the_public_address_when_there_is_one(hub, repo):
    hub.settings.public_url = "https://hub.example/"
    with hub.client() as client:
        href = batch(client, repo, large_file())["actions"]["upload"]["href"]
        created = client.post("/api/repos/create", json={"name": "y"}).json()
    assert href.startswith("https://hub.example/api/lfs/objects/")
    assert created["url"] == "https://hub.example/ana/y"


# --- broken uploads ------------------------------------------------------------------------------


def commit_body(*files):
    lines = [{"key": "header", "value": {"summary": "x", "description": ""}}]
    for path, content in files:
        text = base64.b64encode(content).decode()
        lines.append(
            {"key": "file", "value": {"content": text, "path": path, "encoding": "base64"}}
        )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def send_part(hub, method, path, body, part, token=None):
    """Announce a whole body, send a part of it, and hang up, as a killed client does."""
    address = urlsplit(hub.url)
    head = [f"{method} {path} HTTP/1.1", f"Host: {address.netloc}", f"Content-Length: {len(body)}"]
    head += [f"Authorization: Bearer {token}"] if token else []
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body[:part])
        time.sleep(0.1)


@pytest.mark.parametrize("part", [0, 30, 200, 1_000_000, 3_000_000])
def test_a_commit_that_is_cut_leaves_nothing_and_can_be_repeated(hub, api, repo, part):
    body = commit_body(("a.txt", b"x" * 1_000_000), ("b.txt", b"y" * 2_000_000))
    path = f"/api/models/{repo}/commit/main"
    before = api.model_info(repo).sha

    send_part(hub, "POST", path, body, part, hub.token)

    drafts = hub.settings.data / "blobs" / "drafts"
    assert eventually(lambda: not list(drafts.iterdir()))
    assert api.model_info(repo).sha == before
    assert api.list_repo_files(repo) == []
    with hub.client() as client:
        assert client.post(path, content=body).status_code == 200
    assert api.list_repo_files(repo) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("part", [0, 1000, 2 * MIB])
def test_an_lfs_upload_that_is_cut_leaves_nothing_and_can_be_repeated(hub, api, repo, part):
    content = large_file()
    with hub.client() as client:
        actions = batch(client, repo, content)["actions"]
        href = actions["upload"]["href"]
        send_part(hub, "PUT", href.removeprefix(hub.url), content, part)
        assert eventually(lambda: kept(hub) == [])

        verify = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
        assert client.post(actions["verify"]["href"], json=verify).status_code == 422
        assert commit_lfs(client, repo, content).status_code == 422
        assert api.list_repo_files(repo) == []

        assert client.put(href, content=content).status_code == 200
        assert client.post(actions["verify"]["href"], json=verify).status_code == 200
        assert commit_lfs(client, repo, content).status_code == 200


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (large_file()[:-1], "where 3,145,738 were announced|where 3145738 were announced"),
        (large_file()[:-1] + b"!", "changed on their way"),
        (large_file() + b"!", "announced"),
    ],
)
def test_bytes_that_are_not_those_announced_are_refused(hub, repo, sent, message):
    content = large_file()
    with hub.client() as client:
        href = batch(client, repo, content)["actions"]["upload"]["href"]
        announced = client.put(href, content=sent)
        chunked = client.put(href, content=iter([sent]))
    for answer in (announced, chunked):
        assert answer.status_code == 400
        assert answer.json()["code"] == "digest_mismatch"
    assert kept(hub) == []


def test_a_missing_or_wrong_part_can_be_sent_again(hub, repo):
    hub.settings.multipart_above, hub.settings.part_size = MIB, MIB
    content = large_file(2 * MIB)
    oid = hashlib.sha256(content).hexdigest()
    with hub.client() as client:
        answer = client.post(
            f"/{repo}.git/info/lfs/objects/batch",
            json={
                "operation": "upload",
                "transfers": ["basic", "multipart"],
                "objects": [{"oid": oid, "size": len(content)}],
            },
        ).json()["objects"][0]["actions"]["upload"]
        pieces = [content[:MIB], content[MIB : 2 * MIB], content[2 * MIB :]]
        etags = ["0" * 64] * 3

        def put(number, piece):
            return client.put(answer["header"][f"{number:05d}"], content=piece)

        def complete():
            parts = [{"partNumber": n, "etag": etag} for n, etag in enumerate(etags, 1)]
            return client.post(answer["href"], json={"oid": oid, "parts": parts})

        etags[0] = put(1, pieces[0]).headers["ETag"]
        etags[1] = put(2, b"!" * MIB).headers["ETag"]
        assert put(3, pieces[2] + b"!").status_code == 400
        missing = complete()
        assert "part 3 of the upload never arrived" in missing.json()["error"]
        etags[2] = put(3, pieces[2]).headers["ETag"]
        assert "changed on their way" in complete().json()["error"]
        etags[1] = put(2, pieces[1]).headers["ETag"]
        assert complete().status_code == 200
    assert [path.name for path in kept(hub)] == [oid]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"not json\n", "line 1 of the commit cannot be read"),
        (b'{"key": "header"}\n', "line 1 of the commit cannot be read"),
        (b'{"key": "mystery", "value": {}}\n', "'mystery', which this hub does not know"),
        (b'{"key": "file", "value": {"path": "a.txt"}}\n', "a.txt came without content"),
        (b'{"key": "file", "value": {"content": "??", "path": "a.txt"}}\n', "not base64"),
        (b'{"key": "file", "value": {"content": "eA==', "in the middle of a file"),
        (b'{"key": "lfsFile", "value": {"path": "a.txt", "oid": "x"}}\n', "other than a sha256"),
        (b'{"key": "deletedFile", "value": {"path": "a.txt"}}\n', "no file 'a.txt'"),
        (b'{"key": "deletedFolder", "value": {"path": 1}}\n', "line 1 of the commit"),
        (b"x" * (2 * MIB), "bytes of metadata"),
    ],
)
def test_a_body_that_cannot_be_read_says_where(hub, repo, body, message):
    with hub.client() as client:
        answer = client.post(f"/api/models/{repo}/commit/main", content=body)
    assert 400 <= answer.status_code < 500
    assert message in answer.json()["error"]
    assert kept(hub) == []


def test_a_body_may_arrive_in_pieces_of_any_size(hub, api, repo):
    body = commit_body(("a.txt", b"hello"), ("b.txt", b""), ("c.txt", bytes(range(1, 200))))
    with hub.client() as client:
        answer = client.post(
            f"/api/models/{repo}/commit/main",
            content=(body[i : i + 7] for i in range(0, len(body), 7)),
        )
    assert answer.status_code == 200
    assert {f.path: f.size for f in api.list_repo_tree(repo)} == {
        "a.txt": 5,
        "b.txt": 0,
        "c.txt": 199,
    }


def test_a_refused_commit_changes_nothing(api, repo):
    add = CommitOperationAdd("a.txt", b"1")
    first = api.create_commit(repo, [add], commit_message="1").oid
    add = CommitOperationAdd("A.txt", b"2")
    with pytest.raises(HfHubHTTPError, match="differ only in case"):
        api.create_commit(repo, [add], commit_message="2")
    assert api.model_info(repo).sha == first
