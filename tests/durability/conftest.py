"""What tests of durability share with those of the registry and of the command line."""

from tests.cli.conftest import hubctl, own_settings
from tests.registry.conftest import postgres

__all__ = ["hubctl", "own_settings", "postgres"]
