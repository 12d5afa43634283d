"""Checkpoints of PEFT's LoRA (with DoRA, rsLoRA, biases) and (IA)³."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from adapters_runtime.configs import OwnBiasesConfig, PeftIA3Config, PeftLoRAConfig
from adapters_runtime.errors import FormatError, TensorMismatch
from adapters_runtime.inject.addressed_point import is_linear
from adapters_runtime.inject.paths import head_sizes
from adapters_runtime.io.peft import options, targets
from adapters_runtime.io.peft.checkpoint import Checkpoint, Part
from adapters_runtime.io.peft.starts import STARTS, Start, since
from adapters_runtime.io.peft.token_rows import read_rows

LORA = {
    "lora_A.weight": "lora_A",
    "lora_B.weight": "lora_B",
    "lora_B.bias": "lora_bias",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
}
EMBEDDING_LORA = {
    "lora_embedding_A": "lora_A",
    "lora_embedding_B": "lora_B",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
}
IA3 = {"ia3_l": "factors"}


def read_lora(checkpoint: Checkpoint, left: dict[str, Tensor]) -> list[Part]:
    """Take LoRA's tensors out of `left`, and the biases if it trains any."""
    document = checkpoint.document
    tensors = _take(left, {**LORA, **EMBEDDING_LORA})
    modules = _targeted(checkpoint, tensors, embeddings=True)
    ranks, scalings = {}, {}
    start = _start(checkpoint)
    for name in sorted(modules):
        rank = int(targets.first_match(document.get("rank_pattern"), name, _rank(document)))
        alpha = targets.first_match(
            document.get("alpha_pattern"), name, options.number(document, "lora_alpha", 8)
        )
        path = checkpoint.relative(name)
        ranks[path] = rank
        scalings[path] = alpha / (math.sqrt(rank) if document.get("use_rslora") else rank)
        if start is not None:
            _require_own_weight(checkpoint, name)
            module = checkpoint.modules[name]
            tensors[name] = since(start, module, tensors[name], scalings[path])
            # A map with fewer outputs than the rank, a classifier's, begins with fewer.
            ranks[path] = 2 * min(rank, *module.get_parameter("weight").shape)
    rows = read_rows(checkpoint, left, modules)
    config = PeftLoRAConfig(
        ranks=dict(sorted(ranks.items())),
        scalings=dict(sorted(scalings.items())),
        dropout=options.number(document, "lora_dropout", 0.0),
        use_dora=bool(document.get("use_dora")),
        lora_bias=bool(document.get("lora_bias")),
        heads=head_sizes(checkpoint.model, checkpoint.base, sorted(ranks)),
    )
    lora = (config, _renamed(checkpoint, tensors, "loras"))
    return [lora, *rows, *_biases(checkpoint, left)]


def read_ia3(checkpoint: Checkpoint, left: dict[str, Tensor]) -> list[Part]:
    """Take the factors out of `left`."""
    document = checkpoint.document
    tensors = _take(left, IA3)
    modules = sorted(_targeted(checkpoint, tensors, embeddings=False))
    before = [name for name in modules if targets.is_feedforward(document, name)]
    paths = list(map(checkpoint.relative, modules))
    config = PeftIA3Config(
        outputs=tuple(checkpoint.relative(name) for name in modules if name not in before),
        inputs=tuple(map(checkpoint.relative, before)),
        heads=head_sizes(checkpoint.model, checkpoint.base, paths),
    )
    flat = {key: {part: t.flatten() for part, t in parts.items()} for key, parts in tensors.items()}
    return [(config, _renamed(checkpoint, flat, "loras"))]


def saved_modules(checkpoint: Checkpoint) -> list[str]:
    """Return the modules that a checkpoint holds whole, by full names."""
    # An Identity, say, may bear the name of a norm, and has nothing to save.
    full = [name for name, module in checkpoint.modules.items() if module.state_dict()]
    found = targets.saved_modules(checkpoint.document, full)
    if checkpoint.document.get("ensure_weight_tying"):
        tied = {end for end, start in checkpoint.tied.items() if start in found}
        found += sorted(end for end in tied if f"{end}.weight" in checkpoint.tensors)
    return found


def _start(checkpoint: Checkpoint) -> Start | None:
    """Return how the base was changed before training began, if it was; FormatError with DoRA."""
    start = STARTS.get(str(checkpoint.document.get("init_lora_weights")))
    if start is not None and checkpoint.document.get("use_dora"):
        raise FormatError(
            f"{checkpoint.source} sets use_dora and init_lora_weights="
            f"{checkpoint.document['init_lora_weights']!r}; together they cannot be loaded"
        )
    return start


def _require_own_weight(checkpoint: Checkpoint, name: str) -> None:
    """Raise FormatError where another module has the weight that PEFT changes at the start."""
    holders = checkpoint.holders(checkpoint.modules[name].weight)
    if twins := [each for each in holders if each != name]:
        start = checkpoint.document["init_lora_weights"]
        raise FormatError(
            f"{checkpoint.source} sets init_lora_weights={start!r} for {name}, which has its "
            f"weight in common with {', '.join(twins)}: PEFT changes those too, so it cannot be "
            "loaded"
        )


def _rank(document: Mapping[str, Any]) -> float:
    rank = options.number(document, "r", 8)
    if rank < 1:
        raise FormatError(f"r of a PEFT configuration must be at least 1, not {rank}")
    return rank


def _take(left: dict[str, Tensor], suffixes: dict[str, str]) -> dict[str, dict[str, Tensor]]:
    """Move tensors with these ends of names out of `left`: module -> our part -> tensor."""
    found: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key in list(left):
        for suffix, part in suffixes.items():
            if key.endswith(f".{suffix}"):
                found[key.removesuffix(f".{suffix}")][part] = left.pop(key)
                break
    return found


def _targeted(checkpoint: Checkpoint, tensors: Iterable[str], *, embeddings: bool) -> set[str]:
    """Return the modules that are adapted; TensorMismatch unless those are the ones with tensors.

    A configuration without targets means whatever the file has.
    """
    present = set(tensors)
    if not checkpoint.document.get("target_modules"):
        wanted = present & checkpoint.modules.keys()
    else:
        kinds = {
            name
            for name, module in checkpoint.modules.items()
            if is_linear(module) or (embeddings and isinstance(module, nn.Embedding))
        }
        wanted = {name for name in kinds if _is_target(checkpoint, name)}
    if checkpoint.document.get("ensure_weight_tying"):
        wanted |= checkpoint.tied.keys() & present
    if wanted != present or not present:
        raise TensorMismatch(
            f"{checkpoint.source}: its tensors and its target_modules differ, seen from "
            f"{type(checkpoint.model).__name__}",
            sorted(wanted - present),
            sorted(present - wanted),
        )
    return present


def _is_target(checkpoint: Checkpoint, name: str) -> bool:
    if checkpoint.document["target_modules"] != targets.ALL_LINEAR:
        return targets.is_target(checkpoint.document, name)
    module = checkpoint.modules[name]
    output = checkpoint.model.get_output_embeddings()
    return is_linear(module) and module is not output and not checkpoint.is_outside(name)


def _biases(checkpoint: Checkpoint, left: dict[str, Tensor]) -> list[Part]:
    trained = checkpoint.document.get("bias", "none")
    if trained not in ("none", "all", "lora_only"):
        raise FormatError(f"bias of a PEFT configuration is none, all or lora_only: {trained!r}")
    if trained == "none":
        return []
    saved = tuple(f"{name}." for name in saved_modules(checkpoint))
    biases = {key: t for key, t in left.items() if not (saved and key.startswith(saved))}
    found = _take(biases, {"base_layer.bias": "bias", "bias": "bias"})
    for key in left.keys() - biases.keys() - {k for k in left if saved and k.startswith(saved)}:
        del left[key]
    if trained == "all":
        _require_biases(checkpoint, saved, found)
    _drop_second_names(checkpoint, found)
    if not found:
        return []  # the model has none, or PEFT did not find them: it looks for `lora_only` amiss
    modules = tuple(sorted(map(checkpoint.relative, found)))
    heads = head_sizes(checkpoint.model, checkpoint.base, modules)
    config = OwnBiasesConfig(modules, heads)
    return [(config, _renamed(checkpoint, found, "own_biases"))]


def _drop_second_names(checkpoint: Checkpoint, found: dict[str, dict[str, Tensor]]) -> None:
    """Drop biases that a module only lends to one inside it, which has them in the file as well.

    Raises FormatError where such a bias would be lost.
    """
    own: dict[str, Any] = {
        name: checkpoint.modules[name].bias for name in found if name in checkpoint.modules
    }
    outer = [name for name in own if any(checkpoint.modules[name].children())]
    for name in outer:
        twins = [twin for twin in own if twin not in outer and own[twin] is own[name]]
        same = [own[name], *(found[twin]["bias"] for twin in twins)]
        if not any(torch.equal(found[name]["bias"].to(each), each) for each in same):
            raise FormatError(f"{checkpoint.source} trains {name}.bias, which cannot be replaced")
        del found[name]


def _require_biases(checkpoint: Checkpoint, saved: tuple[str, ...], found: Iterable[str]) -> None:
    own = {
        name
        for name, module in checkpoint.modules.items()
        if isinstance(getattr(module, "bias", None), nn.Parameter)
    }
    missing = {name for name in own if not f"{name}.".startswith(saved or ("\0",))} - set(found)
    if missing:
        source = str(checkpoint.source)
        raise TensorMismatch(source, sorted(f"{name}.bias" for name in missing))


def _renamed(
    checkpoint: Checkpoint, modules: dict[str, dict[str, Tensor]], container: str
) -> dict[str, Tensor]:
    return {
        f"{checkpoint.relative(name)}.{container}.*.{part}": tensor
        for name, parts in modules.items()
        for part, tensor in parts.items()
    }
