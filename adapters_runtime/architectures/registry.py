"""Which model type has which specification."""

from collections.abc import Mapping
from typing import Any

from adapters_runtime.architectures import bart, bert, llama, t5, vision
from adapters_runtime.architectures.albert import ALBERT
from adapters_runtime.architectures.clip import CLIP, CLIP_TEXT_MODEL, CLIP_VISION_MODEL
from adapters_runtime.architectures.deberta import DEBERTA, DEBERTA_V2
from adapters_runtime.architectures.distilbert import DISTILBERT
from adapters_runtime.architectures.gpt2 import GPT2
from adapters_runtime.architectures.modernbert import MODERNBERT
from adapters_runtime.architectures.mpnet import MPNET
from adapters_runtime.architectures.pairs import PAIR, paired
from adapters_runtime.architectures.parallel_gpt import GPT_NEOX, GPTJ, PHI
from adapters_runtime.architectures.spec import Architecture
from adapters_runtime.errors import UnsupportedArchitecture

ARCHITECTURES: dict[str, Architecture] = {
    architecture.model_type: architecture
    for architecture in (
        ALBERT,
        bart.BART,
        bart.MBART,
        bart.PLBART,
        bart.WHISPER,
        bert.BERT,
        bert.BERT_GENERATION,
        bert.CAMEMBERT,
        bert.ELECTRA,
        bert.ROBERTA,
        bert.XLM_ROBERTA,
        bert.XMOD,
        CLIP,
        CLIP_TEXT_MODEL,
        CLIP_VISION_MODEL,
        DEBERTA,
        DEBERTA_V2,
        DISTILBERT,
        GPT2,
        GPTJ,
        GPT_NEOX,
        llama.GEMMA2,
        llama.GEMMA3_TEXT,
        llama.LLAMA,
        llama.MISTRAL,
        PHI,
        llama.PHI3,
        llama.QWEN2,
        llama.QWEN3,
        MODERNBERT,
        MPNET,
        t5.MT5,
        t5.T5,
        vision.BEIT,
        vision.DEIT,
        vision.VIT,
    )
}


def get_architecture(model_type: str) -> Architecture:
    """Return the specification of a model type; UnsupportedArchitecture says how to write one."""
    if model_type not in ARCHITECTURES:
        raise UnsupportedArchitecture(model_type, sorted(ARCHITECTURES))
    return ARCHITECTURES[model_type]


def architecture_of_config(config: Mapping[str, Any]) -> Architecture:
    """Return the specification of the model that a config.json describes.

    That of a pair is put together from those of its parts. Raises UnsupportedArchitecture, and
    UnsupportedPair where a part of it cannot be one.
    """
    if config.get("model_type") != PAIR:
        return get_architecture(str(config.get("model_type")))
    parts = [config.get(part) for part in ("encoder", "decoder")]
    encoder, decoder = (part if isinstance(part, Mapping) else {} for part in parts)
    return paired(architecture_of_config(encoder), architecture_of_config(decoder))


def register(architecture: Architecture) -> Architecture:
    """Add a specification, or replace that of its model type, for this process."""
    ARCHITECTURES[architecture.model_type] = architecture
    return architecture
