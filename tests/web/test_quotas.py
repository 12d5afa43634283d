"""Quotas, as stock clients and `/api/v1` meet them."""

import base64
import io

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from registry import accounts, quotas
from tests.support.server import running_server

SMALL, LARGE = 10_000, 9 * 1024 * 1024


def weights(byte):
    """A file of LARGE bytes that looks like weights."""
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    start = len(header).to_bytes(8, "little") + header
    return start + bytes([byte]) * (LARGE - len(start))


@pytest.fixture
def hub(tmp_path):
    with running_server(tmp_path / "hub", owner_bytes=LARGE + SMALL, owner_adapters=2) as server:
        yield server


@pytest.fixture
def api(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return HfApi(endpoint=hub.url, token=hub.token)


def upload(api, path, data, name="ana/one"):
    return api.upload_file(path_or_fileobj=io.BytesIO(data), path_in_repo=path, repo_id=name)


def used(hub):
    with hub.session() as session:
        return quotas.usage(session, accounts.find(session, "ana"))


def test_bytes_are_refused_before_they_are_sent(hub, api):
    api.create_repo("ana/one")
    upload(api, "one.safetensors", weights(0))
    for path, data in (("two.safetensors", weights(1)), ("two.txt", b"a" * (SMALL + 1))):
        with pytest.raises(HfHubHTTPError, match=r"ana would have [\d,]+ bytes here") as refused:
            upload(api, path, data)
        assert refused.value.response.status_code == 403
    assert used(hub).bytes == LARGE
    # What is there already needs no room, and what fits is taken.
    upload(api, "one.safetensors", weights(0))
    upload(api, "two.txt", b"a" * SMALL)
    assert used(hub).bytes == LARGE + SMALL


def test_a_client_that_asks_nothing_before_is_refused_at_the_commit(hub, api):
    api.create_repo("ana/one")
    with hub.client() as client:
        content = base64.b64encode(b"a" * (LARGE + SMALL + 1)).decode()
        body = (
            '{"key": "header", "value": {"summary": "s", "description": ""}}\n'
            f'{{"key": "file", "value": {{"content": "{content}", "path": "a.txt"}}}}\n'
        )
        headers = {"Content-Type": "application/x-ndjson"}
        answer = client.post("/api/models/ana/one/commit/main", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "quota_exceeded")
    assert "operator" in answer.json()["hint"]
    assert used(hub).bytes == 0
    assert api.list_repo_files("ana/one") == []


def test_an_owner_has_so_many_adapters_and_no_more(hub, api):
    for name in ("ana/one", "ana/two"):
        api.create_repo(name)
    with pytest.raises(HfHubHTTPError, match="3 adapters here; 2 are allowed"):
        api.create_repo("ana/three")
    with hub.session() as session:
        ana = accounts.find(session, "ana")
        accounts.create_organisation(session, "lab", admin=ana)
    for name in ("lab/one", "lab/two"):
        api.create_repo(name)
    with pytest.raises(HfHubHTTPError, match="lab would have 3 adapters"):
        api.move_repo("ana/one", "lab/three")
    api.delete_repo("lab/two")
    api.move_repo("ana/one", "lab/three")
    assert used(hub).adapters == 1
