"""LoRA, DoRA and (IA)³ as PEFT keeps them: beside whole modules.

An update of some parts of a fused projection is one update of the whole, of the ranks' sum: A has
their rows one below the other, B their columns side by side, with zeros where nothing is adapted.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.inject.addressed_point import OwnBiasPoint, OwnModulePoint
from adapters_runtime.inject.linear_point import LinearPoint
from adapters_runtime.io.peft import targets
from adapters_runtime.io.peft.written import Source, Written
from adapters_runtime.methods.addressed_ia3 import RescaledInput, RescaledOutput
from adapters_runtime.methods.addressed_lora import AddressedLoRA
from adapters_runtime.methods.base import LinearMethod
from adapters_runtime.methods.dora import Magnitude
from adapters_runtime.methods.ia3 import IA3
from adapters_runtime.methods.lora import LoRA
from adapters_runtime.methods.low_rank import LowRank
from adapters_runtime.methods.own_bias import OwnBias
from adapters_runtime.methods.vera import VeRA

Biases = dict[str, Tensor]
"""Full name of a module -> the bias that stands in the place of its own."""


@dataclass
class Update:
    """W + scaling · B A at one module, A (r, in), B (out, r)."""

    down: Tensor
    up: Tensor
    scaling: float
    dropout: float
    bias: Tensor | None = None
    """That of B, (out)."""
    magnitude: Tensor | None = None
    """DoRA's, (out), as its paper has it."""


def write_linear(source: Source) -> Written:
    """Return LoRA or (IA)³, and own biases; ConfigError when PEFT could not compute the same."""
    updates, factors, biases = collect(source)
    if updates and factors:
        raise source.refusal("PEFT has no union of LoRA and (IA)³")
    if factors and biases:
        raise source.refusal("PEFT's (IA)³ has no biases of its own")
    return _ia3(source, factors) if factors else _lora(source, updates, biases)


def collect(source: Source) -> tuple[dict[str, Update], dict[str, Tensor], Biases]:
    """Return updates, factors and biases by the full names of the modules they stand at."""
    updates: dict[str, Update] = {}
    factors: dict[str, Tensor] = {}
    biases: Biases = {}
    for point in source.bank.of_type(LinearPoint):
        if source.name not in point.adapters or isinstance(point, OwnModulePoint):
            continue
        path, method = source.path(point.host.module), point.adapters[source.name]
        if isinstance(point, OwnBiasPoint) and isinstance(method, OwnBias):
            biases[path] = method.bias
        elif isinstance(method, IA3 | RescaledInput | RescaledOutput):
            factors[path] = _factors(source, point, method)
        else:
            assert isinstance(method, LinearMethod)
            updates[path] = _update(source, point, method, path, biases)
    return updates, factors, biases


# --- LoRA


def _update(
    source: Source, point: LinearPoint, method: LinearMethod, path: str, biases: Biases
) -> Update:
    if isinstance(method, AddressedLoRA):
        dropout = method.dropout.p
        factors = (method.lora_A, method.lora_B, method.scaling, dropout)
        return Update(*factors, method.lora_bias, method.magnitude)
    if not isinstance(method, LoRA | VeRA) or method.gate is not None:
        gated = isinstance(method, LowRank) and method.gate is not None
        raise source.refusal("it has gates" if gated else f"it is a {type(method).__name__}")
    update = Update(method.down(), _spread(source, point, method.up()), method.scaling, 0.0)
    update.dropout = method.dropout.p
    if method.m is not None:
        _rescale(source, point, method, update)
        if (bias := point._bias()) is not None:  # noqa: SLF001
            biases[path] = bias * _factor(source, point, method)
    return update


def _spread(source: Source, point: LinearPoint, up: Tensor) -> Tensor:
    """Return B of the whole module, with zeros for the parts that are not adapted."""
    if len(point.widths) == 1:
        return up
    return point.replace(source.name, up.new_zeros(sum(point.widths), up.shape[1]), up, 0)


def _rescale(source: Source, point: LinearPoint, method: LowRank, update: Update) -> None:
    """Set PEFT's magnitude: its norm is that of W + s · B A, ours leaves s out."""
    weight = point._weight()  # noqa: SLF001
    norms = torch.linalg.vector_norm(weight + update.scaling * (update.up @ update.down), dim=1)
    update.magnitude = norms * _factor(source, point, method)


def _factor(source: Source, point: LinearPoint, method: LowRank) -> Tensor:
    """Return what DoRA multiplies each output with, (out): 1 where nothing is adapted."""
    assert isinstance(method.m, Magnitude)
    weight = point._weight()  # noqa: SLF001
    factor = method.m.factor(point.select(source.name, weight, 0), method.delta())
    if len(point.widths) == 1:
        return factor
    return point.replace(source.name, factor.new_ones(len(weight)), factor, 0)


def _lora(source: Source, updates: dict[str, Update], biases: Biases) -> Written:
    if not updates:
        raise source.refusal("it adapts no linear map")
    dora = {update.magnitude is not None for update in updates.values()}
    with_bias = {update.bias is not None for update in updates.values()}
    dropouts = {update.dropout for update in updates.values()}
    if len(dora) > 1 or len(with_bias) > 1 or len(dropouts) > 1:
        raise source.refusal("its parts differ in use_dora, lora_bias or dropout")
    fields = {
        "peft_type": "LORA",
        "bias": "all" if biases else "none",
        "fan_in_fan_out": _any_transposed(source, updates),
        "init_lora_weights": True,
        "lora_bias": with_bias.pop(),
        "lora_dropout": dropouts.pop(),
        "use_dora": dora.pop(),
        "use_rslora": False,
        **_ranks(updates),
        **_targets(source, updates, by_layer=True),
    }
    tensors = _bias_tensors(source, updates, biases)
    for path, update in updates.items():
        tensors |= _lora_tensors(path, update, source.modules[path])
    return Written(fields, tensors)


def _lora_tensors(path: str, update: Update, module: nn.Module) -> dict[str, Tensor]:
    embedding = isinstance(module, nn.Embedding)
    first, second = (
        ("lora_embedding_A", "lora_embedding_B")
        if embedding
        else ("lora_A.weight", "lora_B.weight")
    )
    found = {
        first: update.down,
        second: update.up,
        "lora_B.bias": update.bias,
        "lora_magnitude_vector": update.magnitude,
    }
    return {f"{path}.{key}": tensor for key, tensor in found.items() if tensor is not None}


def _ranks(updates: Mapping[str, Update]) -> dict[str, Any]:
    """Return rank and alpha of most modules, and patterns for the others."""
    ranks = {path: len(update.down) for path, update in updates.items()}
    alphas = {path: _alpha(update.scaling, ranks[path]) for path, update in updates.items()}
    rank, alpha = (Counter(found.values()).most_common(1)[0][0] for found in (ranks, alphas))
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {f"^{path}": r for path, r in ranks.items() if r != rank},
        "alpha_pattern": {f"^{path}": a for path, a in alphas.items() if a != alpha},
    }


def _alpha(scaling: float, rank: int) -> float:
    nearest = round(scaling * rank)
    return nearest if nearest / rank == scaling else scaling * rank


def _bias_tensors(source: Source, adapted: Collection[str], biases: Biases) -> dict[str, Tensor]:
    """Return all biases of the model, as `bias="all"` has them, with our own among them."""
    if not biases:
        return {}
    found = {}
    for path, module in source.modules.items():
        bias = biases.get(path, getattr(module, "bias", None))
        if isinstance(bias, Tensor):
            key = f"{path}.base_layer.bias" if path in adapted else f"{path}.bias"
            found[key] = bias.detach().clone()  # two modules may have one, a file may not
    return found


# --- (IA)³


def _factors(
    source: Source, point: LinearPoint, method: IA3 | RescaledInput | RescaledOutput
) -> Tensor:
    """Return (out, 1) where outputs are rescaled, (1, in) where inputs are."""
    if isinstance(method, RescaledInput):
        return method.factors[None]
    if isinstance(method, RescaledOutput):
        return method.factors[:, None]
    if method.gate is not None:
        raise source.refusal("it has gates")
    factor = method.factor()
    if len(point.widths) > 1:
        factor = point.replace(source.name, factor.new_ones(sum(point.widths)), factor, 0)
    return factor[:, None]


def _ia3(source: Source, factors: dict[str, Tensor]) -> Written:
    inputs = [path for path, factor in factors.items() if len(factor) == 1]
    fields = {
        "peft_type": "IA3",
        "fan_in_fan_out": _any_transposed(source, factors),
        "feedforward_modules": sorted(inputs),
        "init_ia3_weights": True,
        # Feed-forward modules must be among the targets word by word.
        **(_exact(factors) if inputs else _targets(source, factors, by_layer=False)),
    }
    return Written(fields, {f"{path}.ia3_l": factor for path, factor in factors.items()})


# --- which modules


def _targets(source: Source, wanted: Collection[str], *, by_layer: bool) -> dict[str, Any]:
    """Return the shortest description of exactly these modules that PEFT has."""
    short = {"target_modules": sorted({path.rpartition(".")[2] for path in wanted})}
    layers = {int(part) for path in wanted for part in path.split(".") if part.isdigit()}
    for description in (short, {**short, "layers_to_transform": sorted(layers)}):
        if "layers_to_transform" in description and not (by_layer and layers):
            continue
        meant = {path for path in source.modules if targets.is_target(description, path)}
        if meant == set(wanted):
            return description
    return _exact(wanted)


def _exact(wanted: Collection[str]) -> dict[str, Any]:
    return {"target_modules": sorted(wanted)}


def _any_transposed(source: Source, wanted: Collection[str]) -> bool:
    return any(type(source.modules[path]).__name__ == "Conv1D" for path in wanted)
