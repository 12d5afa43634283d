"""What tests of durability share with those of the registry and of the command line."""

import pytest

from tests.cli.conftest import hubctl, own_settings
from tests.durability.mortal import Mortal
from tests.registry.conftest import postgres

__all__ = ["hubctl", "own_settings", "postgres"]


@pytest.fixture(params=["sqlite", "postgresql"])
def mortal(request, tmp_path, hubctl):
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.create_database())
    hub = Mortal(hubctl, tmp_path, url)
    yield hub
    hub.close()
