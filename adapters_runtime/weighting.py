"""One LoRA out of several, of any places and ranks, as PEFT's `add_weighted_adapter` makes it.

With s_i the scaling and w_i the weight of LoRA i, at each module that some of them adapt:

cat                A = [w_1 s_1 A_1; ...], B = [B_1, ...]: exactly Σ w_i s_i B_i A_i
svd                the matrices of rank k whose product is closest to that sum
linear             A = Σ ±√|w_i s_i| A_i, B = Σ √|w_i s_i| B_i: rough, since products mix
magnitude_prune    the same of matrices that keep their greatest entries, a share `density` of them
ties               the same, and of the kept entries only those of the elected sign are averaged
                   (Yadav et al. 2023, https://arxiv.org/abs/2306.01708, section 4)
..._svd            these, of the updates B_i A_i in the place of A_i and B_i, cut to rank k
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from adapters_runtime.configs import LoRAConfig, MTLLoRAConfig, PeftLoRAConfig, parts_of
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import AdapterBank, bank_of, base_of
from adapters_runtime.inject.paths import head_sizes
from adapters_runtime.io.peft.writing_linear import Update, collect
from adapters_runtime.io.peft.written import Source

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Weighted = Sequence[tuple[Update, float]]
Merge = Callable[[Sequence[Tensor], Sequence[float]], Tensor]
Pair = tuple[Tensor, Tensor]

KINDS = ("cat", "linear", "magnitude_prune", "magnitude_prune_svd", "svd", "ties", "ties_svd")


class How(NamedTuple):
    """`combination_type` and its options, in PEFT's words."""

    kind: str
    svd_rank: int | None
    density: float | None
    majority_sign_method: str


@torch.no_grad()
def add_weighted(
    model: "PreTrainedModel", name: str, sources: Sequence[tuple[str, float]], how: How
) -> None:
    """Add the combination of `sources`, names of LoRAs with their weights, as a new adapter."""
    bank = bank_of(model)
    _check(bank, sources, how)
    found: dict[str, list[tuple[Update, float]]] = defaultdict(list)
    for source, weight in sources:
        for path, update in collect(Source(model, source))[0].items():
            found[path].append((update, weight))
    kind = "linear" if len(sources) == 1 else how.kind
    most = max(len(update.down) for updates in found.values() for update, _ in updates)
    how = how._replace(kind=kind, svd_rank=how.svd_rank or most)
    prefix = next((f"{p}." for p, module in model.named_children() if module is base_of(model)), "")
    pairs = {path.removeprefix(prefix): _pair(path, found[path], how) for path in sorted(found)}
    ranks = {path: len(down) for path, (down, _) in pairs.items()}
    heads = head_sizes(model, base_of(model), ranks)
    bank.add(name, PeftLoRAConfig(ranks=ranks, scalings=dict.fromkeys(ranks, 1.0), heads=heads))
    tensors: dict[str, Tensor] = {}
    for path, (down, up) in pairs.items():
        tensors |= {f"{path}.loras.{name}.lora_A": down, f"{path}.loras.{name}.lora_B": up}
    bank.fill(name, tensors)


def _check(bank: AdapterBank, sources: Sequence[tuple[str, float]], how: How) -> None:
    if how.kind not in KINDS:
        raise ConfigError(
            f"no combination_type is called {how.kind!r} (there are: {', '.join(KINDS)})"
        )
    if how.majority_sign_method not in ("total", "frequency"):
        raise ConfigError(
            f"majority_sign_method is total or frequency, not {how.majority_sign_method!r}"
        )
    prunes = how.kind.startswith(("ties", "magnitude"))
    if prunes and (how.density is None or not 0 <= how.density <= 1):
        raise ConfigError(
            f"combination_type {how.kind!r} needs a density from 0 to 1, not {how.density}"
        )
    for name, _ in sources:
        if not all(map(_is_plain, parts_of(bank.require(name)))):
            raise ConfigError(
                f"{name!r} is no LoRA, or one with gates, biases or magnitudes (DoRA), and cannot "
                "be combined; average_adapter knows other methods"
            )


def _is_plain(part: object) -> bool:
    if isinstance(part, PeftLoRAConfig):
        return not (part.use_dora or part.lora_bias)
    if not isinstance(part, LoRAConfig) or isinstance(part, MTLLoRAConfig):
        return False
    return not (part.is_ia3 or part.use_gating or part.use_dora)


def _pair(path: str, updates: Weighted, how: How) -> Pair:
    """Return A and B of one module."""
    if how.kind == "cat":
        downs = [weight * update.scaling * update.down for update, weight in updates]
        return torch.cat(downs), torch.cat([update.up for update, _ in updates], dim=1)
    merge = _merge(how)
    if how.kind.endswith("svd"):
        deltas = [update.scaling * (update.up @ update.down) for update, _ in updates]
        return _nearest(merge(deltas, [weight for _, weight in updates]), how.svd_rank or 1)
    if len({len(update.down) for update, _ in updates}) > 1:
        raise ConfigError(
            f"combination_type {how.kind!r} needs LoRAs of one rank, and at {path} they differ; "
            "use 'svd' or 'cat'"
        )
    shares = [weight * update.scaling for update, weight in updates]
    roots = [math.sqrt(abs(share)) for share in shares]
    signed = [math.copysign(root, share) for root, share in zip(roots, shares, strict=True)]
    down = merge([update.down for update, _ in updates], signed)
    return down, merge([update.up for update, _ in updates], roots)


def _merge(how: How) -> Merge:
    """Return what makes one tensor out of several and their weights."""

    def merge(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        if how.kind.startswith(("ties", "magnitude")):
            tensors = [_pruned(tensor, how.density or 0.0) for tensor in tensors]
        stack = torch.stack(list(tensors))
        factors = stack.new_tensor(weights).view(-1, *(1,) * (stack.dim() - 1))
        if not how.kind.startswith("ties"):
            return (stack * factors).sum(dim=0)
        votes = stack if how.majority_sign_method == "total" else stack.sign()
        elected = torch.where(votes.sum(dim=0) >= 0, 1, -1)
        agreeing = stack.sign() == elected
        return (stack * factors * agreeing).sum(dim=0) / agreeing.sum(dim=0).clamp(min=1)

    return merge


def _pruned(tensor: Tensor, density: float) -> Tensor:
    """Keep the share `density` of the entries that are greatest in magnitude."""
    kept = tensor.abs().flatten().topk(int(density * tensor.numel())).indices
    pruned = torch.zeros_like(tensor).flatten()
    pruned[kept] = tensor.flatten()[kept]
    return pruned.view_as(tensor)


def _nearest(delta: Tensor, rank: int) -> Pair:
    left, values, right = torch.linalg.svd(delta.float(), full_matrices=False)
    return right[:rank].to(delta), (left[:, :rank] * values[:rank]).to(delta)
