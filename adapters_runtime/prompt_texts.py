"""Prompts that start as the embeddings of a text, `prompt_init="from_string"`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from adapters_runtime.configs import AdapterConfig, PromptTuningConfig, parts_of
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import AdapterBank, bank_of
from adapters_runtime.inject.prompt_point import PromptPoint
from adapters_runtime.methods.prompt_tuning import PromptTuning

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def embedded_text(model: "PreTrainedModel", config: AdapterConfig) -> torch.Tensor | None:
    """Return the vectors of the text in a configuration, if there is one: (tokens, width).

    Raises ConfigError when no tokenizer is known to read it.
    """
    for part in parts_of(config):
        if isinstance(part, PromptTuningConfig) and part.prompt_init == "from_string":
            assert part.prompt_init_text is not None
            return _embed(model, part.prompt_init_text, bank_of(model).tokenizer)
    return None


def start_prompts(bank: AdapterBank, name: str, embedded: torch.Tensor) -> None:
    """Let a new adapter's prompt start from the vectors of a text."""
    for point in bank.of_type(PromptPoint):
        if name in point.adapters:
            adapter = point.adapters[name]
            assert isinstance(adapter, PromptTuning)
            adapter.start_from(embedded)


@torch.no_grad()
def _embed(model: "PreTrainedModel", text: str, tokenizer: Any) -> torch.Tensor:
    reader = _tokenizer(tokenizer, str(model.name_or_path))
    ids = reader(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ConfigError(f"the tokenizer makes no token of prompt_init_text={text!r}")
    embedding = model.get_input_embeddings()
    embedded: torch.Tensor = embedding(torch.tensor(ids, device=model.device))
    return embedded


def _tokenizer(known: Any, source: str) -> Any:
    if isinstance(known, str | Path) and Path(known).is_file():
        return PreTrainedTokenizerFast(tokenizer_file=str(known))
    if known is not None and not isinstance(known, str | Path):
        return known
    try:
        return AutoTokenizer.from_pretrained(known or source)
    except (OSError, ValueError) as error:
        raise ConfigError(
            'prompt_init="from_string" needs a tokenizer, and there is none at '
            f"{str(known or source)!r}; give it by model.describe_base(tokenizer=...)"
        ) from error
