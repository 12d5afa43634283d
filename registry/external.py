"""Adapters that are known from elsewhere: found and read about here, and never loaded from here."""

from registry.errors import ExternalOnly
from registry.models import Adapter


def check_here(adapter: Adapter) -> None:
    """Raises ExternalOnly when an adapter's weights are elsewhere; the error says where."""
    if adapter.external is not None:
        raise ExternalOnly(adapter.name, adapter.external["url"])
