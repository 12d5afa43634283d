"""Writing an adapter as a checkpoint of PEFT, which computes the same with it; or refusing to.

The same adapter gives the same bytes: keys and lists are sorted, and nothing tells of the time.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from adapters_runtime import merging
from adapters_runtime.configs import (
    AdapterConfig,
    EmbeddingRowsConfig,
    LoRAConfig,
    OwnBiasesConfig,
    OwnModulesConfig,
    PeftIA3Config,
    PeftLoRAConfig,
    PeftPromptConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    parts_of,
)
from adapters_runtime.errors import MergeStateError
from adapters_runtime.inject.addressed_point import OwnModulePoint
from adapters_runtime.io import files
from adapters_runtime.io.card import CARD
from adapters_runtime.io.hub_files import base_name
from adapters_runtime.io.peft.checkpoint import ROOTS, WEIGHTS
from adapters_runtime.io.peft.token_rows import SUFFIX
from adapters_runtime.io.peft.writing_linear import write_linear
from adapters_runtime.io.peft.writing_prompts import write_prefix, write_prompt
from adapters_runtime.io.peft.written import Source, Written
from adapters_runtime.io.staging import staged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LINEAR = (LoRAConfig, PeftLoRAConfig, PeftIA3Config)
_WITH_LORA = (OwnBiasesConfig, EmbeddingRowsConfig)
_TASKS = {
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
}
_GENERATING = ("CAUSAL_LM", "SEQ_2_SEQ_LM")
_HEADS = ("classifier", "score", "qa_outputs")

_CARD = """\
---
{base_model}library_name: peft
tags: {tags}
---

# {name}

A checkpoint of PEFT, written by `adapters_runtime`. Load it into its base model:

```python
from peft import PeftModel

model = PeftModel.from_pretrained(model, "path/to/this/folder")
```
"""


def write(model: "PreTrainedModel", target: Path, name: str) -> None:
    """Write the folder; raises AdapterNotLoaded, MergeStateError, and ConfigError.

    ConfigError says what PEFT has no place for. A card that is there already stays.
    """
    source = Source(model, name)
    config = source.bank.require(name)
    if (merged := merging.merged(source.bank)) is not None:
        raise MergeStateError(
            f"{name!r} cannot be written while {merged!r} is merged; call reset_adapter() first"
        )
    written = _written(source, config)
    base = base_name(model)
    document = {
        "base_model_name_or_path": base,
        "inference_mode": True,
        "modules_to_save": None,
        "task_type": _task(model, written),
        **written.fields,
    }
    tensors = {written.name(key): tensor for key, tensor in written.tensors.items()}
    with staged(target, (*files.ADAPTER_FILES, *WEIGHTS)) as folder:
        files.write_json(folder / files.CONFIG, document)
        files.write_tensors(folder / WEIGHTS[0], tensors)
        if not (target / CARD).exists():
            (folder / CARD).write_text(_card(name, base, written.fields["peft_type"]), "utf-8")


def _written(source: Source, config: AdapterConfig) -> Written:
    first, *others = (part for part in parts_of(config) if not isinstance(part, OwnModulesConfig))
    if not others and isinstance(first, PrefixTuningConfig):
        written = write_prefix(source, first)
    elif not others and isinstance(first, PromptTuningConfig | PeftPromptConfig):
        written = write_prompt(source, first)
    else:
        written = _beside_modules(source, [first, *others])
    _write_modules(source, written)
    return written


def _beside_modules(source: Source, parts: Sequence[AdapterConfig]) -> Written:
    for part in parts:
        if not isinstance(part, _LINEAR + _WITH_LORA):
            raise source.refusal(f"PEFT has no place for its {type(part).__name__}")
    written = write_linear(source)
    for part in parts:
        if isinstance(part, EmbeddingRowsConfig):
            _write_rows(source, part, written)
    return written


def _write_rows(source: Source, config: EmbeddingRowsConfig, written: Written) -> None:
    path = source.path(source.model.get_input_embeddings())
    if written.fields["peft_type"] != "LORA" or source.model.config.is_encoder_decoder:
        raise source.refusal("PEFT has own rows beside LoRA only, for one token embedding")
    held = dict(source.bank.saved_tensors(source.name))
    written.tensors[path + SUFFIX] = held[f"embedding_rows.{source.name}.weight"]
    written.fields["trainable_token_indices"] = {path: list(config.token_ids)}


def _write_modules(source: Source, written: Written) -> None:
    points = [p for p in source.bank.of_type(OwnModulePoint) if source.name in p.adapters]
    paths = []
    for point in points:
        paths.append(path := source.path(point.host.module))
        own: dict[str, Tensor] = point.adapters[source.name].state_dict()
        written.tensors |= {f"{path}.{key}": tensor for key, tensor in own.items()}
    if written.root == ROOTS[1]:
        paths += _write_heads(source, written, paths)
    if paths:
        written.fields["modules_to_save"] = sorted(paths)


def _write_heads(source: Source, written: Written, known: Sequence[str]) -> list[str]:
    """Add the model's own head: beside a soft prompt for a classifier PEFT insists on one."""
    names = [
        name for name, _ in source.model.named_children() if name in _HEADS and name not in known
    ]
    for name in names:
        own: dict[str, Tensor] = source.modules[name].state_dict()
        written.tensors |= {f"{name}.{key}": tensor for key, tensor in own.items()}
    return names


def _task(model: "PreTrainedModel", written: Written) -> str | None:
    """Return the task in PEFT's words.

    Prompts need it. Elsewhere that of a classifier would make PEFT want one in the file.
    """
    if model.main_input_name != "input_ids":
        return None  # PEFT's classes for tasks hand on text alone
    name = type(model).__name__
    task = next((task for end, task in _TASKS.items() if name.endswith(end)), None)
    if written.fields["peft_type"] in ("LORA", "IA3"):
        return task if task in _GENERATING else None
    return task or "FEATURE_EXTRACTION"


def _card(name: str, base: str | None, method: str) -> str:
    tags, line = [method.lower()], ""
    if base is not None:
        tags.insert(0, f"base_model:adapter:{base}")
        line = f"base_model: {json.dumps(base)}\n"
    return _CARD.format(base_model=line, tags=json.dumps(tags), name=name)
