"""Tensors of the heads that transformers' own model classes are built with.

Such a head is saved without a configuration, under the names of its class. Which tensors it has
follows from the class and the number of labels, for the classes in which nothing else decides.
"""

from collections.abc import Mapping

from adapters_runtime.shapes.base import BaseDescription, Shape

_KINDS = (
    ("ForSequenceClassification", "classification"),
    ("ForMultipleChoice", "multiple_choice"),
    ("ForTokenClassification", "tagging"),
    ("ForQuestionAnswering", "question_answering"),
    ("ForImageClassification", "image_classification"),
    ("ForMaskedLM", "masked_lm"),
    ("ForCausalLM", "causal_lm"),
    ("LMHeadModel", "causal_lm"),
    ("GenerationDecoder", "causal_lm"),
    ("ForConditionalGeneration", "seq2seq_lm"),
)

_Layout = Mapping[str, str]
"""Tensor -> its dimensions: H is the width of the base's output, L the number of labels."""


def _linear(path: str, dimensions: str) -> dict[str, str]:
    return {f"{path}.weight": dimensions, f"{path}.bias": dimensions[0]}


_PLAIN = _linear("classifier", "LH")
_DENSE = {**_linear("classifier.dense", "HH"), **_linear("classifier.out_proj", "LH")}
_POOLED = {**_linear("pooler.dense", "HH"), **_PLAIN}
_DISTILBERT = {**_linear("pre_classifier", "HH"), **_PLAIN}
_SUMMARY = {**_linear("sequence_summary.summary", "HH"), **_PLAIN}
_ENCODER_DECODER = {
    **_linear("classification_head.dense", "HH"),
    **_linear("classification_head.out_proj", "LH"),
}
_SCORE = {"score.weight": "LH"}
_SCORE_OF_TOKENS = _linear("score", "LH")
_SPAN = _linear("qa_outputs", "LH")

_BERTS = ("albert", "bert")
_DEBERTAS = ("deberta", "deberta-v2")
_ROBERTAS = ("camembert", "electra", "mpnet", "roberta", "xlm-roberta", "xmod")
_BARTS = ("bart", "mbart", "plbart")
_T5S = ("mt5", "t5")
_GPTS = ("gpt2", "gpt_neox")
_LLAMAS = ("gemma2", "gemma3_text", "llama", "mistral", "phi", "phi3", "qwen2", "qwen3")
_CHOOSERS = tuple(name for name in (*_BERTS, *_ROBERTAS) if name != "electra")

_LAYOUTS: Mapping[str, tuple[tuple[tuple[str, ...], _Layout], ...]] = {
    "classification": (
        (_BERTS, _PLAIN),
        (_ROBERTAS, _DENSE),
        (_DEBERTAS, _POOLED),
        (("distilbert",), _DISTILBERT),
        ((*_BARTS, *_T5S), _ENCODER_DECODER),
        ((*_GPTS, *_LLAMAS, "gptj"), _SCORE),
    ),
    "multiple_choice": (
        (_CHOOSERS, _PLAIN),
        (("electra",), _SUMMARY),
        (("deberta-v2",), _POOLED),
        (("distilbert",), _DISTILBERT),
    ),
    "tagging": (
        ((*_BERTS, *_ROBERTAS, *_DEBERTAS, *_GPTS, *_T5S, "distilbert"), _PLAIN),
        (_LLAMAS, _SCORE_OF_TOKENS),
    ),
    "question_answering": (((*_BERTS, *_ROBERTAS, *_DEBERTAS, "distilbert", "gpt2"), _SPAN),),
    "image_classification": ((("beit", "vit"), _PLAIN),),
}


def head_type_of(class_name: str) -> str | None:
    """Return the type of the flexible head that stands for the head of a class."""
    return next((kind for suffix, kind in _KINDS if class_name.endswith(suffix)), None)


def expected_static_head_tensors(
    class_name: str, num_labels: int, base: BaseDescription
) -> dict[str, Shape] | None:
    """Return {key: shape} of what the file of such a head must hold; None where it is not known.

    `num_labels` is that of the model's configuration. A choice has one output, whatever it says.
    """
    kind = head_type_of(class_name)
    layouts = _LAYOUTS.get(kind or "", ())
    layout = next((layout for types, layout in layouts if base.model_type in types), None)
    if layout is None:
        return None
    sizes = {"H": base.output_width, "L": 1 if kind == "multiple_choice" else num_labels}
    return {key: tuple(sizes[letter] for letter in letters) for key, letters in layout.items()}


def head_dimensions(model_type: str, key: str) -> str | None:
    """Return the dimensions of a tensor of such a head, `LH` for one; None where it is not known.

    >>> head_dimensions("bert", "classifier.weight"), head_dimensions("bert", "score.weight")
    ('LH', None)
    """
    layouts = (
        layout for kind in _LAYOUTS.values() for types, layout in kind if model_type in types
    )
    return next((layout[key] for layout in layouts if key in layout), None)
