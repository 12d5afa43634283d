"""Every specification is found again in the transformers that is installed.

Twice: the specification itself is held against a pass of the model (its sums, projections and
feed-forward maps reproduce each layer), and a specification derived from nothing but the model is
equal to it, field by field. A release that moves, renames or reorders modules fails here.
"""

from dataclasses import fields

import pytest
from transformers import MODEL_MAPPING, AutoConfig

from adapters_runtime.architectures import ARCHITECTURES, fitted
from adapters_runtime.derive import certify, make_specimen
from adapters_runtime.derive.deriving import Incomplete, describe
from tests.support.tiny_models import AS_DECODER, CROSS_ATTENDING, FIELDS

STREAM_BY_NAME = "AdapterHub's weights read the stream here, a few operations earlier or later"
SAME_TENSOR = "another module carries the same tensor"
LORA_SWAPPED = "AdapterHub's library has the two places of LoRA the wrong way round"
LIBRARY = "a rule of AdapterHub's library, which no pass of the model can show"
ONE_OF_TWO = "the specification names the module of both variants of the model"

# What a model does not tell: names in AdapterHub's files, and rules of AdapterHub's library.
NOT_IN_THE_MODEL = {
    "saved_as", "saved_path", "saved_names", "prefixes_saved_as", "invertible_saved_as",
    "swapped", "query_last", "scaled_query", "sums", "inverts_at_static_head", "inverts_unscaled",
    "needs", "prefix_bias", "summary", "prompts", "prompts_see_padding", "counts_places",
    "methods",
}  # fmt: skip

# (types, field) -> (what is derived instead, why). `None`: whatever is derived.
EQUIVALENT = {
    ("albert electra t5 mt5 clip", "embedding_output"): STREAM_BY_NAME,
    ("albert electra clip", "embedding_parameters"): STREAM_BY_NAME,
    ("clip", "token_embedding"): "transformers gives no input embedding for two towers",
    (
        "clip clip_vision_model",
        "pooler_parameters",
    ): "what CLIP returns beside the last hidden state",
    (
        "clip clip_text_model",
        "role",
    ): "AdapterHub's library treats CLIP's causal tower as an encoder",
    ("distilbert phi", "out"): SAME_TENSOR,
    ("mpnet", "embedding_parameters"): "the bias of relative positions is made before the layers",
    ("t5 mt5 phi", "residual"): SAME_TENSOR,
    ("llama mistral", "lora_intermediate"): LORA_SWAPPED,
    ("llama mistral", "lora_output"): LORA_SWAPPED,
    ("t5 mt5", "ffn_in"): ONE_OF_TWO,
    ("t5 mt5", "lora_intermediate"): ONE_OF_TWO,
    ("xmod", "sites"): "the model's own language adapters are a third sub-block",
    ("xmod", "norm"): LIBRARY,
    ("xmod", "residual"): LIBRARY,
}
# The same, of models that are decoders with cross-attention.
AS_DECODERS = {
    "key": "AdapterHub's library knows cross-attention's place by the name of self-attention's",
    "role": "heads read a decoder of this kind as they read the encoder",
}
EXCUSED = {(t, field): why for (types, field), why in EQUIVALENT.items() for t in types.split()}

# The specification lets the model's own adapters and norm follow what it describes.
OPEN = {"xmod": "is not what mh_adapter leaves"}

# Types of which only the specification itself is held against the model.
NOT_DERIVED = {
    "whisper": "no module gives what enters its encoder's layers",
}


VARIANTS = [
    *((model_type, {}) for model_type in sorted(ARCHITECTURES)),
    *((model_type, AS_DECODER) for model_type in CROSS_ATTENDING),
]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda v: f"{v[0]}{'-decoder' * bool(v[1])}")
def specimen(request):
    model_type, fields = request.param
    config = AutoConfig.for_model(model_type, **FIELDS[model_type], **fields)
    return make_specimen(MODEL_MAPPING[type(config)], config)


def test_the_specification_explains_every_layer(specimen):
    architecture = ARCHITECTURES[specimen.config.model_type]
    gaps = certify(architecture, specimen.trace, specimen.probe).gaps
    known = OPEN.get(architecture.model_type)
    assert [gap for gap in gaps if known is None or known not in gap] == []
    assert (known is None) == (not gaps)


def test_the_derived_specification_is_the_committed_one(specimen):
    names = [name for name, _ in specimen.model.named_parameters()]
    committed = fitted(ARCHITECTURES[specimen.config.model_type], names)
    if committed.model_type in NOT_DERIVED:
        with pytest.raises(Incomplete):
            describe(specimen)
        return
    derived = describe(specimen)
    differences = dict(differing(derived, committed, names))
    excused = {field for (t, field) in EXCUSED if t == committed.model_type}
    if getattr(specimen.config, "add_cross_attention", False):
        excused |= set(AS_DECODERS)
    assert {f: d for f, d in differences.items() if f not in excused} == {}
    assert excused <= set(differences), "an excuse that nothing needs"


def differing(derived, committed, names):
    for field in fields(committed):
        a, b = getattr(derived, field.name), getattr(committed, field.name)
        if field.name in NOT_IN_THE_MODEL:
            continue
        if field.name in ("embedding_parameters", "pooler_parameters"):
            a, b = ({name for name in names if name.startswith(prefixes)} for prefixes in (a, b))
        if field.name in ("stacks", "sites", "attentions"):
            if len(a) != len(b):
                yield field.name, (a, b)
            for one, other in zip(a, b, strict=False):
                yield from differing(one, other, names)
        elif a != b:
            yield field.name, (a, b)
