"""What operators watch: health, metrics, and a log without secrets."""

import io
import json
import logging
import re
import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from registry import accounts, login
from tests.support import shelf
from tests.support.server import running_server
from tests.support.waiting import eventually
from web import logs

PASSWORD = "correct horse battery"


# --- health --------------------------------------------------------------------------------------


def test_a_server_that_works_is_live_and_ready(hub):
    with hub.client("") as client:
        assert client.get("/health").json() == {"status": "ok"}
        ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert set(ready.json().values()) == {"ready", "ok"}


def test_with_an_older_schema_it_is_live_and_not_ready(hub):
    with hub.session() as session:
        session.execute(text("update alembic_version set version_num = '0001'"))
    with hub.client("") as client:
        assert client.get("/health").status_code == 200
        ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json() == {
        "status": "not ready",
        "database": "ok",
        "schema": "failed",
        "blobs": "ok",
    }


def test_without_its_bucket_it_is_not_ready(hub, monkeypatch):
    def unreachable(_digest):
        raise OSError("no route to s3://hub?secret")

    monkeypatch.setattr(hub.blobs, "exists", unreachable)
    with hub.client("") as client:
        ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["blobs"]) == (503, "failed")
    assert "secret" not in ready.text


# --- metrics -------------------------------------------------------------------------------------


def samples(client, **options):
    answer = client.get("/metrics", **options)
    answer.raise_for_status()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def counted(client, value, name, **labels):
    """Return whether a sample reaches a value; a request is counted once it was answered."""
    key = (name, tuple(sorted(labels.items())))
    return eventually(lambda: samples(client).get(key) == value)


def test_requests_are_counted_by_route_and_never_by_name(hub):
    with hub.session() as session:
        adapter = shelf.add_adapter(
            session, hub.blobs, "ana/hidden", visibility="private", card="# H\n"
        )
        shelf.add_version(session, adapter)
    with hub.client() as client:
        for path in ("/ana/hidden", "/ana/hidden/resolve/main/a%2Fb", "/no/such/page/at/all"):
            client.get(path)
        page = {"method": "GET", "route": "/{owner}/{name}", "status": "200"}
        time = {"method": "GET", "route": "/{owner}/{name}"}
        lost = {"method": "any", "route": "none", "status": "404"}
        assert counted(client, 1, "hub_requests_total", **page)
        assert counted(client, 1, "hub_request_seconds_count", **time)
        assert counted(client, 1, "hub_requests_total", **lost)
        assert "hidden" not in client.get("/metrics").text


def test_publishes_downloads_and_refused_pushes_are_counted(hub, api, folder):
    api.create_repo("ana/x")
    api.upload_folder(repo_id="ana/x", folder_path=folder)
    api.hf_hub_download("ana/x", "adapter_config.json")
    with hub.client() as client:
        versions = "/api/v1/adapters/ana/x/versions"
        assert client.post(versions, json={"revision": "main"}).status_code == 404
        assert counted(client, 1, "hub_refused_pushes_total", code="base_model_not_found")
        assert counted(client, 1, "hub_downloads_total")
        assert counted(client, 0, "hub_publishes_total")


def test_metrics_may_need_a_token(tmp_path):
    with running_server(tmp_path / "hub", metrics_token="m" * 20) as hub:
        with hub.client("") as nobody, hub.client() as ana:
            assert nobody.get("/metrics").status_code == 401
            assert ana.get("/metrics").status_code == 401
        with hub.client("m" * 20) as prometheus:
            assert prometheus.get("/metrics").status_code == 200


# --- logs ----------------------------------------------------------------------------------------


@pytest.fixture
def lines(monkeypatch):
    """What a server would write to its log, at the level that says most."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("hub"), "propagate", True)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def test_the_log_holds_no_token_password_cookie_or_signed_address(lines, hub, api, folder):
    secrets = {hub.token, PASSWORD}
    with hub.session() as session:
        code = login.invite(session, accounts.find(session, "ana"))
        secrets.add(code)
    with hub.client("") as browser:
        browser.get("/account/invitation", params={"code": code})
        browser.post("/account/invitation", data={"code": code, "password": PASSWORD})
        browser.post("/login", data={"name": "ana", "password": "a wrong guess"})
        browser.post("/login", data={"name": "ana", "password": PASSWORD})
        secrets |= {"a wrong guess", browser.cookies["hub_session"]}
        mark = re.search(r'name="csrf" value="([^"]+)"', browser.get("/account").text)[1]
        data = {"csrf": mark, "label": "x", "role": "write"}
        made = re.search(r"hub_\w{46}", browser.post("/account/tokens", data=data).text)[0]
        secrets |= {mark, made}
    api.create_repo("ana/x")
    api.upload_folder(repo_id="ana/x", folder_path=folder)
    with hub.client() as client:
        body = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 3}]}
        batch = client.post("/ana/x.git/info/lfs/objects/batch", json=body).json()
        address = batch["objects"][0]["actions"]["upload"]["href"]
        secrets.add(address.partition("ticket=")[2])
        client.put(address, content=b"abc")  # refused: the digest is another
    # A failure inside, whose trace would show what the statement was given.
    shutil.rmtree(hub.settings.data / "blobs" / "drafts")
    with hub.client() as client:
        assert client.put(address, content=b"abc").status_code == 500

    assert eventually(lambda: any(line.get("status") == 500 for line in lines()))
    written = lines()
    ours = [line for line in written if line["logger"].startswith("hub.")]
    assert len([line for line in ours if line["logger"] == "hub.access"]) > 12
    assert any("exception" in line for line in ours)
    everything = json.dumps([line for line in written if line["logger"] not in CLIENTS])
    for secret in secrets:
        assert secret not in everything


CLIENTS = ("httpcore2.http11", "httpcore2.connection", "httpx2", "huggingface_hub")
"""Loggers of the clients of this test, which run in the same process."""


def test_each_line_says_when_what_and_for_which_request(lines, hub):
    with hub.client("") as client:
        answer = client.get("/api/v1/adapters/no/such", headers={"X-Request-Id": "from-a-proxy-1"})
        assert answer.headers["X-Request-Id"] == "from-a-proxy-1"
        assert answer.json()["request"] == "from-a-proxy-1"
        strange = client.get("/health", headers={"X-Request-Id": "a b"})
        assert re.fullmatch("[0-9a-f]{32}", strange.headers["X-Request-Id"])

    def found():
        return [each for each in lines() if each.get("request") == "from-a-proxy-1"]

    assert eventually(found)
    (line,) = found()
    assert line.pop("at").endswith("+00:00")
    assert line.pop("ms") >= 0
    assert line == {
        "level": "info",
        "logger": "hub.access",
        "message": "GET /api/v1/adapters/no/such",
        "request": "from-a-proxy-1",
        "method": "GET",
        "path": "/api/v1/adapters/no/such",
        "status": 404,
        "code": "adapter_not_found",
    }


def test_an_error_page_names_its_request(hub):
    headers = {"Accept": "text/html", "X-Request-Id": "from-a-proxy-2"}
    with hub.client("") as client:
        page = client.get("/search?after=x", headers=headers)
    assert page.status_code == 422
    assert "<code>from-a-proxy-2</code>" in page.text
