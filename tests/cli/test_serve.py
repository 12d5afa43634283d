"""A hub on this machine needs no set-up, and is not opened to others by accident."""

import json
import os
import signal
import socket
import subprocess
import sys

import httpx2
import pytest


@pytest.fixture
def serve(tmp_path, own_settings):
    """Start `hubctl serve`; yields a function that returns the process and what it announced."""
    running = []

    def start(*words, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", "--json", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        running.append(process)
        lines = []
        while not lines or lines[-1].rstrip() != "}":
            line = process.stdout.readline()
            if not line:
                raise AssertionError(process.stderr.read())
            lines.append(line)
        return process, json.loads("".join(lines))

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_one_command_starts_a_hub_and_logs_in(serve, hubctl, tmp_path):
    _, said = serve("--port", "0", "--data", str(tmp_path / "data"))
    assert said["data"] == str(tmp_path / "data")
    assert httpx2.get(f"{said['url']}/api/whoami-v2").status_code == 401
    me = hubctl("whoami", "--json").json
    assert (me["endpoint"], me["account"]) == (said["url"], said["account"])


def test_ctrl_c_ends_it_cleanly(serve, tmp_path):
    process, _ = serve("--port", "0", "--data", str(tmp_path / "data"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err.splitlines()[-1] == "Stopped."
    assert "Traceback" not in err


def test_the_same_folder_opens_again_under_another_port(serve, hubctl, tmp_path):
    first, _ = serve("--port", "0", "--data", str(tmp_path / "data"))
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)
    _, said = serve("--port", "0", "--data", str(tmp_path / "data"))
    assert hubctl("whoami", "--json").json["endpoint"] == said["url"]


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
