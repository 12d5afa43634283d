"""`adapters_runtime.configs` under the name that AdapterHub's library has for it."""

from typing import Any

from adapters_runtime import configs
from adapters_runtime.configs import *  # noqa: F403  (the same names, whatever they are)
from adapters_runtime.configs import __all__  # noqa: F401


def __getattr__(name: str) -> Any:
    """Give the class of today for one of an older release, with a warning."""
    return getattr(configs, name)
