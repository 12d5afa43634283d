"""A hub on this machine needs no set-up, and is not opened to others by accident."""

import signal
import socket
from contextlib import ExitStack
from functools import partial

import httpx2
import pytest

from tests.support.serving import serving
from tests.support.waiting import eventually


@pytest.fixture
def serve():
    """Start `hubctl serve`; yields a function that returns the process and what it announced."""
    with ExitStack() as running:
        yield lambda *words: running.enter_context(serving(*words))


def test_one_command_starts_a_hub_and_logs_in(serve, hubctl, tmp_path):
    _, said = serve("--data", str(tmp_path / "data"))
    assert said["data"] == str(tmp_path / "data")
    assert httpx2.get(f"{said['url']}/api/whoami-v2").status_code == 401
    me = hubctl("whoami", "--json").json
    assert (me["endpoint"], me["account"]) == (said["url"], said["account"])


def test_ctrl_c_ends_it_cleanly(serve, tmp_path):
    process, _ = serve("--data", str(tmp_path / "data"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err.splitlines()[-1] == "Stopped."
    assert "Traceback" not in err


def test_the_same_folder_opens_again_under_another_port(serve, hubctl, tmp_path):
    first, _ = serve("--data", str(tmp_path / "data"))
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)
    _, said = serve("--data", str(tmp_path / "data"))
    assert hubctl("whoami", "--json").json["endpoint"] == said["url"]


def shows(hub, lines):
    return lines <= set(httpx2.get(f"{hub['url']}/metrics").text.splitlines())


def test_the_metrics_of_several_processes_are_those_of_the_hub(tmp_path):
    counts = tmp_path / "counts"
    counts.mkdir()
    lines = {
        'hub_requests_total{method="GET",route="/api/v1/tasks",status="200"} 3.0',
        'hub_request_seconds_count{method="GET",route="/api/v1/tasks"} 3.0',
    }
    data, shared = str(tmp_path / "data"), {"PROMETHEUS_MULTIPROC_DIR": str(counts)}
    with ExitStack() as running:
        hubs = [running.enter_context(serving("--data", data, **shared))[1] for _ in range(2)]
        for hub, number in zip(hubs, (1, 2), strict=True):
            for _ in range(number):
                httpx2.get(f"{hub['url']}/api/v1/tasks").raise_for_status()
        for hub in hubs:
            assert eventually(partial(shows, hub, lines))


def test_a_taken_port_is_said_before_anything_is_made(hubctl, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = hubctl("serve", "--port", port, "--data", tmp_path / "data")
    assert ended.code == 1
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in ended.err
    assert "--port" in ended.err
    assert not (tmp_path / "data").exists()


def test_it_is_not_opened_to_others_without_a_secret(hubctl, tmp_path):
    ended = hubctl("serve", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path / "data")
    assert ended.code == 1
    assert "no secret is configured" in ended.err
    assert "HUB_SECRET" in ended.err
    assert not (tmp_path / "data").exists()
