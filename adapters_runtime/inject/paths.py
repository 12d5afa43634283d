"""The modules that an architecture's paths lead to."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from adapters_runtime.errors import UnsupportedArchitecture


def find(root: nn.Module, path: str) -> nn.Module:
    """Return the module at a dotted path; `a|b` is the first of the two that exists.

    Raises UnsupportedArchitecture when there is none: the model is not as its specification says.
    """
    for alternative in path.split("|"):
        try:
            return root.get_submodule(alternative)
        except AttributeError:
            continue
    raise UnsupportedArchitecture(f"{type(root).__name__} without {path!r}", ())


def path_within(layer: nn.Module, path: str) -> str:
    """Return the alternative of `path` that the layer has."""
    target = find(layer, path)
    names = {module: name for name, module in layer.named_modules()}
    return str(names[target])


def in_features(module: nn.Module) -> int:
    if hasattr(module, "in_features"):
        return int(module.in_features)  # type: ignore[arg-type]
    weight = module.get_parameter("weight")
    return weight.shape[0]  # Conv1D keeps (in, out)


def out_features(module: nn.Module) -> int:
    if hasattr(module, "out_features"):
        return int(module.out_features)  # type: ignore[arg-type]
    return module.get_parameter("weight").shape[1]


def token_embedding(base: Any) -> str | None:
    """Return the path of the module that looks up tokens, None for models without tokens."""
    try:
        embedding = base.get_input_embeddings()
    except NotImplementedError:
        return None
    named = {id(module): name for name, module in base.named_modules()}
    return named.get(id(embedding)) if isinstance(embedding, nn.Embedding) else None


def head_sizes(model: Any, base: Any, paths: Iterable[str]) -> dict[str, tuple[int, ...]] | None:
    """Return the sizes of the modules that are a head's and not the base's: output, then input.

    A norm has one size. An output embedding is a head's also where a model is its own base.
    """
    inside, output = dict(base.named_modules()), model.get_output_embeddings()
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        if path in inside and inside[path] is not output:
            continue
        module = model.get_submodule(path)
        flat = module.weight.dim() == 1
        found[path] = (len(module.weight),) if flat else (out_features(module), in_features(module))
    return found or None
