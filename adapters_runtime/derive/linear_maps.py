"""What counts as one linear map."""

from torch import Tensor, nn


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is one linear map, as (in, out) too, which GPT-2 calls Conv1D."""
    weight = getattr(module, "weight", None)
    named = type(module).__name__ in ("Linear", "Conv1D")
    return (named or isinstance(module, nn.Linear)) and isinstance(weight, Tensor)
