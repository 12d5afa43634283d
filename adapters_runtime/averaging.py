"""A new adapter out of several: their weighted sum, tensor by tensor or update by update.

linear                     Σ w_i θ_i over all tensors, invertible parts and shared ones included
lora_linear_only_negate_b  the same, but a negative weight negates B only: negating A as well
                           would leave the product as it was (Zhang et al. 2023,
                           https://arxiv.org/abs/2306.14870, section 3)
lora_delta_w_svd           matrices of rank k whose product is closest to Σ w_i B_i A_i
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adapters_runtime.configs import AdapterConfig, LoRAConfig, method_name
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import AdapterBank
from adapters_runtime.inject.point import Point
from adapters_runtime.methods.lora import LoRA

STRATEGIES = ("linear", "lora_linear_only_negate_b", "lora_delta_w_svd")

Weighted = Sequence[tuple[str, float]]
"""Names of adapters with their weights; a name may come twice."""


def average(
    bank: AdapterBank, name: str, sources: Weighted, strategy: str, svd_rank: int | None
) -> None:
    """Add the average of `sources` as a new adapter.

    Raises AdapterNotLoaded, AdapterExists, and ConfigError when the sources cannot be averaged so.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(
            f"no combine_strategy is called {strategy!r} (there are: {', '.join(STRATEGIES)})"
        )
    if strategy == "lora_delta_w_svd":
        config: AdapterConfig = _config_of_rank(bank, sources, svd_rank)
    else:
        config = _common_config(bank, sources)
        if strategy == "lora_linear_only_negate_b":
            _require_lora(config, strategy)
    bank.add(name, config)
    try:
        for point in bank.of_type(Point):
            if name in point.adapters:
                _fill(point, name, sources, strategy)
    except BaseException:
        bank.remove(name)
        raise


def _fill(point: Point, name: str, sources: Weighted, strategy: str) -> None:
    if strategy == "lora_delta_w_svd":
        _lora(point, name).assign(_mean_update(point, sources))
        return
    total = _sum(point, sources, negate_only_b=strategy == "lora_linear_only_negate_b")
    point.adapters[name].load_state_dict(total)


def weights_of(
    count: int, weights: Sequence[float] | None, *, normalize: bool
) -> tuple[float, ...]:
    """Return one weight for each adapter, which sum to one if they are to be normalised."""
    given = (1.0,) * count if weights is None else tuple(weights)
    if not count:
        raise ConfigError("there is no adapter to combine")
    if len(given) != count:
        raise ConfigError(f"there are {count} adapters, but {len(given)} weights")
    if weights is not None and not normalize:
        return given
    total = sum(given)
    if total == 0:
        raise ConfigError(
            f"the weights {list(given)} sum to 0 and cannot be normalised; pass "
            "normalize_weights=False to use them as they are"
        )
    return tuple(weight / total for weight in given)


def _common_config(bank: AdapterBank, sources: Weighted) -> AdapterConfig:
    names = [name for name, _ in sources]
    first, *others = [bank.require(name) for name in names]
    for name, config in zip(names[1:], others, strict=True):
        if config != first:
            raise ConfigError(
                f"{names[0]!r} and {name!r} have different configurations ({first!r} and "
                f"{config!r}), so that their tensors cannot be averaged"
            )
    return first


def _require_lora(config: AdapterConfig, strategy: str) -> LoRAConfig:
    if method_name(config) != "lora" or not isinstance(config, LoRAConfig) or config.use_gating:
        raise ConfigError(
            f"combine_strategy {strategy!r} is for LoRA without gates, not {config!r}; use 'linear'"
        )
    return config


def _sum(point: Point, sources: Weighted, *, negate_only_b: bool) -> dict[str, Tensor]:
    """Return the weighted sum of what the sources hold at one place."""
    total: dict[str, Tensor] = {}
    for source, weight in sources:
        for key, tensor in point.adapters[source].state_dict().items():
            factor = abs(weight) if negate_only_b and key.endswith("lora_A") else weight
            term = factor * tensor
            total[key] = total[key] + term if key in total else term
    return total


def _config_of_rank(bank: AdapterBank, sources: Weighted, svd_rank: int | None) -> LoRAConfig:
    configs = [_require_lora(bank.require(source), "lora_delta_w_svd") for source, _ in sources]
    if svd_rank is None:
        raise ConfigError("combine_strategy 'lora_delta_w_svd' needs a value for svd_rank")
    first = configs[0]
    for config in configs:
        if config.replace(r=first.r, alpha=first.alpha) != first:
            raise ConfigError(
                f"{first!r} and {config!r} differ in more than rank and alpha, so that their "
                "updates cannot be averaged"
            )
    return first.replace(r=svd_rank)


def _mean_update(point: Point, sources: Weighted) -> Tensor:
    """Return Σ w_i B_i A_i; alpha / r counts only where it differs from the first source's.

    As in AdapterHub's library, alpha stays what it was: a smaller rank makes the update larger.
    """
    unit = _lora(point, sources[0][0]).scaling
    updates = [
        weight * (lora.scaling / unit) * lora.delta()
        for lora, weight in ((_lora(point, source), weight) for source, weight in sources)
    ]
    return torch.stack(updates).sum(dim=0)


def _lora(point: Point, name: str) -> LoRA:
    module = point.adapters[name]
    assert isinstance(module, LoRA)
    return module
