"""Every download of a real client is counted, once, and nobody waits for the counting."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import constants
from sqlalchemy import select

from registry.models import Adapter
from tests.registry.conftest import postgres
from tests.support.server import running_server
from tests.support.waiting import eventually

__all__ = ["postgres"]

PATH = "/ana/x/resolve/main/adapter_config.json"


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request, tmp_path):
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.create_database())
    with running_server(tmp_path / "hub", database_url=url) as server:
        yield server


@pytest.fixture
def downloads(hub, api, folder):
    api.upload_folder(repo_id=api.create_repo("ana/x").repo_id, folder_path=folder)

    def downloads():
        with hub.session() as session:
            return session.scalar(select(Adapter.downloads))

    return downloads


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_what_is_a_download_and_what_is_none(hub, api, downloads, tmp_path, monkeypatch):
    with hub.client("") as client:
        client.head(PATH)
        client.get(PATH, headers={"Range": "bytes=0-9"})
        client.get(PATH, headers={"Range": "bytes=5-9"})
        client.get("/ana/x/resolve/main/README.md")
        client.get(PATH, headers={"User-Agent": "hf_hub/2.4.0"})  # a look that is no download
        api.file_exists("ana/x", "adapter_config.json")
        api.snapshot_download("ana/x")
        api.snapshot_download("ana/x")  # out of the cache
        assert eventually(lambda: downloads() == 1)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another"))
        api.hf_hub_download("ana/x", "adapter_config.json")
        assert eventually(lambda: downloads() == 2)
        client.get(PATH, headers={"User-Agent": "hf_hub/0.36.2"})  # too old to mark downloads
        assert eventually(lambda: downloads() == 3)


def test_none_is_lost_among_many_at_once(hub, downloads):
    with hub.client("") as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.get(PATH).status_code, range(96)))
    assert answers == [200] * 96
    assert eventually(lambda: downloads() == 96)


def test_a_reader_does_not_wait_for_a_writer_to_be_counted(hub, downloads):
    """The same connection is used again at once: an answer that waits would keep it."""
    with hub.client("") as client:
        client.get(PATH)
        with hub.session() as writing:
            adapter = writing.scalars(select(Adapter).with_for_update()).one()
            began = time.monotonic()
            for _ in range(10):
                client.get(PATH).raise_for_status()
            assert time.monotonic() - began < 5
            writing.refresh(adapter)
            time.sleep(1.5)  # a count is being written meanwhile, and waits
    assert eventually(lambda: downloads() == 11)


def test_a_server_that_ends_writes_its_counts(hub, downloads):
    counter = hub.app.state.downloads
    with hub.client("") as client:
        client.get(PATH)
    counter.__exit__()
    assert downloads() == 1
