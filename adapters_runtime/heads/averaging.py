"""The weighted mean of several heads."""

from collections.abc import Iterable, Mapping

import torch

from adapters_runtime.errors import ConfigError
from adapters_runtime.heads.base import PredictionHead


def shares(
    names: Iterable[str] | Mapping[str, float],
    weights: Iterable[float] | None,
    *,
    normalize: bool,
) -> dict[str, float]:
    """Return {name: weight}; equal weights, which sum to one, when none are given.

    A name may come twice: its weights add up.
    """
    listed = list(names)
    if isinstance(names, Mapping):
        weights = names.values()
    given = [1.0] * len(listed) if weights is None else list(weights)
    if not listed or len(given) != len(listed):
        raise ConfigError(f"{len(listed)} heads need as many weights, not {len(given)}")
    total = sum(given) if normalize or weights is None else 1.0
    if total == 0:
        raise ConfigError(f"weights that sum to zero cannot be normalised: {given}")
    found = dict.fromkeys(listed, 0.0)
    for name, weight in zip(listed, given, strict=True):
        found[name] += weight / total
    return found


@torch.no_grad()
def fill(new: PredictionHead, heads: Mapping[PredictionHead, float]) -> None:
    """Set the parameters of a new head to the mean; raises ConfigError for unlike heads."""
    for head in heads:
        if _shape(head) != _shape(new):
            raise ConfigError(
                f"heads of different configurations have no mean: {head.name!r} has "
                f"{_shape(head)}, and another has {_shape(new)}"
            )
    own = dict(new.named_parameters())
    for name, parameter in own.items():
        sources = [(dict(head.named_parameters())[name], share) for head, share in heads.items()]
        if all(source is parameter for source, _ in sources):
            continue  # tied to the base in all of them
        parameter.copy_(torch.stack([share * source for source, share in sources]).sum(dim=0))


def _shape(head: PredictionHead) -> dict[str, object]:
    return {key: value for key, value in head.config.items() if key != "dropout_prob"}
