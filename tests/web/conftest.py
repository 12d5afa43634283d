"""The real server, for tests over HTTP."""

import pytest

from tests.support.server import running_server


@pytest.fixture
def hub(tmp_path):
    """A fresh hub with the user `ana`; `hub.url`, `hub.token`, `hub.client()`."""
    with running_server(tmp_path / "hub") as server:
        yield server
