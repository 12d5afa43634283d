"""Reading a PEFT checkpoint as a configuration of ours and tensors under our names.

Nothing is dropped: every tensor has a place that the configuration asks for, and every place has
its tensors, or nothing is loaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from adapters_runtime.configs import AdapterConfig, ConfigUnion, OwnModulesConfig
from adapters_runtime.errors import ConfigError, TensorMismatch
from adapters_runtime.io.peft import options
from adapters_runtime.io.peft.checkpoint import Checkpoint, Part
from adapters_runtime.io.peft.embeddings import take_embeddings
from adapters_runtime.io.peft.linear import read_ia3, read_lora, saved_modules
from adapters_runtime.io.peft.soft_prompts import read_prefix, read_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_READERS = {
    "LORA": read_lora,
    "IA3": read_ia3,
    "PREFIX_TUNING": read_prefix,
    "PROMPT_TUNING": read_prompt,
}


def read(
    model: "PreTrainedModel",
    source: Path,
    document: Mapping[str, Any],
    name: str,
    *,
    with_head: bool,
) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Return configuration and tensors of a checkpoint, for an adapter called `name`.

    Raises FormatError for methods and options that cannot be loaded, TensorMismatch when tensors
    and configuration differ, ConfigError when the model lacks a module that the checkpoint brings.
    """
    method = options.check(document, source)
    checkpoint = Checkpoint(model, source, document)
    left = dict(checkpoint.tensors)
    parts = [*_READERS[method](checkpoint, left), *_modules(checkpoint, left, with_head=with_head)]
    if left:
        below = any(".base_layer." in key for key in left)
        why = ": its LoRA stands on embeddings that are not this model's" if below else ""
        raise TensorMismatch(f"{source}{why}", (), sorted(left))
    tensors = {
        key.replace(".*.", f".{name}.", 1): t for _, part in parts for key, t in part.items()
    }
    configs = [config for config, _ in parts]
    return (configs[0] if len(configs) == 1 else ConfigUnion(*configs)), tensors


def _modules(checkpoint: Checkpoint, left: dict[str, Tensor], *, with_head: bool) -> list[Part]:
    """Take whole modules out of `left`: those of modules_to_save, and embeddings of more tokens."""
    found: dict[str, dict[str, Tensor]] = {}
    for module in saved_modules(checkpoint):
        keys = [key for key in left if key.startswith(f"{module}.")]
        parts = {key.removeprefix(f"{module}."): left.pop(key) for key in keys}
        if not parts:
            raise TensorMismatch(str(checkpoint.source), [f"{module}.weight"])
        if with_head or not checkpoint.is_outside(module):
            found[checkpoint.relative(module)] = parts
    _drop_heads(checkpoint, left, with_head=with_head)
    checkpoint.drop_base_weights(left)
    for module, parts in take_embeddings(checkpoint, left).items():
        if with_head or not checkpoint.is_outside(module):
            found[checkpoint.relative(module)] = parts
    if not found:
        return []
    shapes = {
        path: {key: tuple(tensor.shape) for key, tensor in sorted(parts.items())}
        for path, parts in sorted(found.items())
    }
    tensors = {
        f"{path}.own_modules.*.{key}": t
        for path, parts in found.items()
        for key, t in parts.items()
    }
    return [(OwnModulesConfig(modules=shapes), tensors)]


def _drop_heads(checkpoint: Checkpoint, left: dict[str, Tensor], *, with_head: bool) -> None:
    """Drop the modules that this model does not have, if no head is wanted."""
    wanted = options.names(checkpoint.document, "modules_to_save")
    heads = [key for key in left if set(wanted) & set(key.split(".")[:-1])]
    if not heads:
        return
    if with_head:
        brought = ", ".join(sorted(key.rpartition(".")[0] for key in heads))
        raise ConfigError(
            f"{checkpoint.source} brings its own {brought}, which "
            f"{type(checkpoint.model).__name__} does not have; load it into a model with such a "
            "head, or with with_head=False"
        )
    for key in heads:
        del left[key]
