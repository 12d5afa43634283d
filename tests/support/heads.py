"""Tiny models with flexible heads."""

import copy

import torch

from adapters_runtime import AutoAdapterModel
from tests.support.tiny_models import build_tiny

ADD = {
    "audio_classification": "add_audio_classification_head",
    "causal_lm": "add_causal_lm_head",
    "classification": "add_classification_head",
    "dependency_parsing": "add_dependency_parsing_head",
    "image_classification": "add_image_classification_head",
    "masked_lm": "add_masked_lm_head",
    "multilabel_classification": "add_classification_head",
    "multiple_choice": "add_multiple_choice_head",
    "question_answering": "add_qa_head",
    "seq2seq_lm": "add_seq2seq_lm_head",
    "tagging": "add_tagging_head",
}


def flexible(model_type):
    """A model with flexible heads over the tiny base of a type."""
    torch.manual_seed(0)
    config = copy.deepcopy(build_tiny(model_type).config)
    model = AutoAdapterModel.from_config(config).eval()
    model.base_model.load_state_dict(build_tiny(model_type).state_dict(), strict=False)
    return model


def add(model, kind, name="h"):
    options = {"multilabel": True} if kind == "multilabel_classification" else {}
    getattr(model, ADD[kind])(name, **options)
    with torch.no_grad():  # random biases too, so that leaving one out shows
        for key, parameter in model.heads[name].named_parameters():
            if key.endswith("bias") or "biaffine" in key:
                parameter.normal_()
