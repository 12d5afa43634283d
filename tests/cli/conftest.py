"""A command line of its own for each test: own credentials, own cache, no settings of ours."""

import importlib

import pytest

from cli import transfer
from tests.support.commands import run
from tests.support.server import running_server

VARIABLES = ("HUBCTL_ENDPOINT", "HUBCTL_TOKEN", "HF_ENDPOINT", "HF_TOKEN", "HUB_SECRET", "HUB_DATA")


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory, monkeypatch):
    """Keep the log-ins and the cache of whoever runs the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUBCTL_CREDENTIALS", str(home / "credentials.json"))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    # huggingface_hub reads its settings once, when the first test imports it.
    transfer.huggingface_hub()
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hf" / "hub"))
    return home


@pytest.fixture
def hubctl():
    """Call a command in this process: `hubctl("search", "ner", stdin=..., NAME=value)`."""
    return run


@pytest.fixture
def hub(tmp_path):
    """A fresh hub with the user `ana`; `hub.url`, `hub.token`."""
    with running_server(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def logged_in(hub, hubctl):
    """The hub, with `hubctl` logged in to it as ana."""
    assert hubctl("login", "--endpoint", hub.url, "--token", hub.token).code == 0
    return hub
