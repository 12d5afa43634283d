"""Checkpoints that the real PEFT makes of tiny models, and what it computes with them."""

import copy
import functools
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch import Tensor

from tests.support import inputs
from tests.support.tiny_models import FIELDS

_CLASSES = {
    "FEATURE_EXTRACTION": transformers.AutoModel,
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "TOKEN_CLS": transformers.AutoModelForTokenClassification,
    "QUESTION_ANS": transformers.AutoModelForQuestionAnswering,
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
    "MASKED_LM": transformers.AutoModelForMaskedLM,  # which is no task of PEFT's
}
# PEFT's prefixes need as many layers on both sides.
_EVEN = {
    "t5": {"num_decoder_layers": 2},
    "mt5": {"num_decoder_layers": 2},
    "gpt2": {"pad_token_id": 0},
}
_EVEN |= {name: {"decoder_layers": 2, "decoder_ffn_dim": 24} for name in ("bart", "mbart")}


@dataclass(frozen=True)
class Case:
    """A configuration of PEFT for one kind of model."""

    name: str
    model_type: str
    task: str
    config: peft.PeftConfig
    fields: dict[str, Any] = field(default_factory=dict)

    def model(self) -> transformers.PreTrainedModel:
        """Return a new copy of the base; two of them are equal."""
        return copy.deepcopy(_model(self.model_type, self.task, tuple(self.fields.items())))


@functools.cache
def _model(
    model_type: str, task: str, fields: tuple[tuple[str, Any], ...]
) -> transformers.PreTrainedModel:
    given = FIELDS[model_type] | _EVEN.get(model_type, {}) | dict(fields)
    config = transformers.AutoConfig.for_model(model_type, **given)
    torch.manual_seed(0)
    model = _CLASSES[task].from_config(config).eval()
    with torch.no_grad():  # biases start at zero, norms at one
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def trained(case: Case, *, seed: int = 1) -> peft.PeftModel:
    """Return a PEFT model whose adapter has an effect, as after training."""
    return adapted(case.model(), case.config, seed=seed)


def adapted(
    base: transformers.PreTrainedModel, config: peft.PeftConfig, *, seed: int = 1
) -> peft.PeftModel:
    """Return the same of any model."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's advice
        model = peft.get_peft_model(base, copy.deepcopy(config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def save(case: Case, folder: Path, *, seed: int = 1) -> None:
    """Write a checkpoint as PEFT does."""
    write(trained(case, seed=seed), folder)


def write(model: peft.PeftModel, folder: Path, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(str(folder), **options)


def load(case: Case, folder: Path) -> peft.PeftModel:
    """Load a checkpoint as PEFT does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(case.model(), str(folder)).eval()


def batch(case: Case) -> dict[str, Tensor]:
    """Return a batch whose second row is padded, at its end."""
    given = inputs.batch(case.model_type, rows=2, length=7)
    config = case.model().config
    given["attention_mask"][1, 5:] = 0
    given["input_ids"][1, 5:] = config.pad_token_id or 0
    if config.is_encoder_decoder:
        generator = torch.Generator().manual_seed(3)
        given["decoder_input_ids"] = torch.randint(3, 32, (2, 5), generator=generator)
    return given


def output(model: torch.nn.Module, given: dict[str, Tensor], **options: Any) -> Tensor:
    """Return what a model says of a batch: logits, or the last hidden states."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT passes arguments by their old names
        outputs = model(**given, **options)
    keys = ("logits", "last_hidden_state", "start_logits")
    return next(outputs[key] for key in keys if outputs.get(key) is not None)


def compare(found: Tensor, expected: Tensor, given: dict[str, Tensor]) -> None:
    """Compare at places of tokens; what stands at padding depends on the attention's kernel."""
    mask = given["attention_mask"].bool()
    if expected.dim() == 3 and expected.shape[1] == mask.shape[1]:
        found, expected = found[mask], expected[mask]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
