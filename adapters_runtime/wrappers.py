"""`init` and `load_model` where AdapterHub's library has them."""

from adapters_runtime.loading import load_model
from adapters_runtime.model import init

__all__ = ["init", "load_model"]
