"""Prediction heads: what each architecture offers, what they compute, what is saved."""

import copy
import inspect

import pytest
import torch
import transformers
from torch.nn import functional as F
from transformers.modeling_outputs import TokenClassifierOutput

from adapters_runtime import PredictionHead
from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.errors import (
    ConfigError,
    HeadExists,
    HeadNotFound,
    UnsupportedHead,
)
from adapters_runtime.heads import ClassificationHead
from adapters_runtime.heads.dependency_parsing import mean_of_words, parsing_loss
from adapters_runtime.heads.registry import offered_heads
from adapters_runtime.shapes import BaseDescription, expected_head_tensors, tied_head_tensors
from tests.support.heads import ADD, add, flexible
from tests.support.inputs import batch
from tests.support.tiny_models import FIELDS, WIDTH

WITH_HEADS = sorted(t for t, a in ARCHITECTURES.items() if offered_heads(a))


def asked(kind, rows=3, length=6):
    """What a head of this kind is asked to predict."""
    if kind == "question_answering":
        return {
            "start_positions": torch.tensor([0, 2, 99]),
            "end_positions": torch.tensor([1, 2, 3]),
        }
    if kind == "multilabel_classification":
        return {"labels": torch.tensor([[1, 0], [1, 1], [0, 0]])}
    if kind == "dependency_parsing":
        starts = torch.tensor([[1, 2, 4, 5, 0, 0]] * rows)
        arcs = torch.tensor([[0, 1, 1, -1, -1, -1]] * rows)
        return {"word_starts": starts, "labels_arcs": arcs, "labels_rels": arcs.clamp(max=1)}
    if kind in ("tagging", "masked_lm", "causal_lm", "seq2seq_lm"):
        labels = torch.randint(0, 2, (rows, length), generator=torch.Generator().manual_seed(1))
        labels[0, 0] = -100
        return {"labels": labels}
    return {"labels": torch.tensor([0, 1, 1])}


def inputs_for(model_type, kind):
    inputs = batch(model_type)
    if kind == "multiple_choice":
        return {key: torch.stack([value, value.flip(0)], dim=1) for key, value in inputs.items()}
    return inputs


@pytest.mark.parametrize("model_type", WITH_HEADS)
def test_every_offered_head_runs_trains_and_is_saved(model_type, tmp_path):
    model = flexible(model_type)
    for kind in model.head_types:
        add(model, kind)
        inputs = inputs_for(model_type, kind)
        outputs = model(**inputs, **asked(kind))
        outputs.loss.backward()
        own = dict(model.heads["h"].named_parameters())
        assert all(p.grad is not None for p in own.values()), kind
        model.save_head(tmp_path / kind, "h")
        again = copy.deepcopy(model)
        again.delete_head("h")
        assert again.load_head(tmp_path / kind, load_as="g") == "g"
        reloaded = again(**inputs, **asked(kind), head="g")
        for key in ("logits", "start_logits", "rel_preds", "arc_preds", "loss"):
            if key in outputs:
                assert torch.equal(outputs[key], reloaded[key]), (kind, key)
        model.delete_head("h")


@pytest.mark.parametrize("model_type", WITH_HEADS)
def test_a_head_has_the_tensors_that_shapes_expects(model_type):
    model = flexible(model_type)
    base = BaseDescription(
        model_type,
        model.config.to_dict(),
        {name: tuple(p.shape) for name, p in model.base_model.named_parameters()},
    )
    for kind in model.head_types:
        add(model, kind)
        config = model.heads["h"].config
        expected = expected_head_tensors("h", config, base)
        tied = tied_head_tensors("h", config, base)
        own = {f"heads.h.{key}": tuple(p.shape) for key, p in model.heads["h"].named_parameters()}
        assert expected | tied == own, kind
        table = model.get_input_embeddings().weight if "vocab_size" in config else None
        of_base = [k for k, p in model.heads["h"].named_parameters() if p is table]
        assert [f"heads.h.{key}" for key in of_base] == list(tied), kind
        model.delete_head("h")


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_specs_know_which_models_tie_their_projection(model_type):
    config = transformers.AutoConfig.for_model(model_type)
    default = getattr(config.get_text_config(), "tie_word_embeddings", True)
    assert ARCHITECTURES[model_type].ties_output == bool(default)


@pytest.mark.parametrize(
    ("model_type", "offered"),
    [
        ("bert", "audio image seq2seq"),
        ("gpt2", "audio image seq2seq multiple dependency masked"),
        ("llama", "audio image seq2seq multiple dependency masked"),
        ("t5", "audio image multiple dependency masked tagging causal"),
        (
            "vit",
            "audio seq2seq multiple dependency masked tagging causal class multilabel question",
        ),
        ("whisper", "image multiple dependency masked tagging causal class multilabel question"),
        ("clip", "a c d i m q s t"),
    ],
)
def test_an_architecture_offers_the_heads_that_it_can_feed(model_type, offered):
    missing = tuple(offered.split())
    kinds = {kind for kind in ADD if not kind.startswith(missing)}
    assert set(offered_heads(ARCHITECTURES[model_type])) == kinds


def test_a_head_that_the_architecture_lacks_is_refused_by_name():
    model = flexible("gpt2")
    with pytest.raises(
        UnsupportedHead, match=r"gpt2 has no head of type 'masked_lm' .it has: class"
    ):
        model.add_masked_lm_head("h")
    assert model.heads == {}


# --- management


def test_a_new_head_is_active_and_its_labels_are_known():
    model = flexible("bert")
    model.add_classification_head("sentiment", num_labels=2, id2label={0: "neg", 1: "pos"})
    assert model.active_head == "sentiment"
    assert model.get_labels() == ["neg", "pos"]
    assert model.config.id2label == {0: "neg", 1: "pos"}
    model.add_tagging_head("tags", num_labels=3)
    assert model.get_labels_dict() == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert model.get_labels_dict("sentiment") == {0: "neg", 1: "pos"}
    assert model.get_prediction_heads_config()["tags"] == {
        "head_type": "tagging",
        "num_labels": 3,
        "layers": 1,
        "activation_function": "tanh",
        "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2},
        "dropout_prob": None,
    }
    model.add_masked_lm_head("mlm")
    assert model.get_labels() is None


def test_two_heads_of_one_name_need_a_word_for_it():
    model = flexible("bert")
    model.add_tagging_head("h")
    with pytest.raises(HeadExists, match="a prediction head called 'h' already"):
        model.add_classification_head("h")
    model.add_classification_head("h", overwrite_ok=True)
    assert model.heads["h"].config["head_type"] == "classification"


def test_deleting_a_head_leaves_the_base_bitwise():
    model = flexible("bert")
    inputs = batch("bert")
    before = model(**inputs).last_hidden_state
    model.add_masked_lm_head("h")
    model.add_adapter("a", "seq_bn_inv", set_active=True)
    model.set_active_adapters(None)
    model.delete_head("h")
    assert model.active_head is None
    assert torch.equal(model(**inputs).last_hidden_state, before)
    with pytest.raises(HeadNotFound, match=r"no prediction head called 'h' .it has: none"):
        model.delete_head("h")


def test_labels_without_a_head_are_an_error():
    with pytest.raises(ConfigError, match=r"no prediction head is active"):
        flexible("bert")(**batch("bert"), labels=torch.tensor([0, 1, 1]))


def test_return_dict_false_gives_a_tuple():
    model = flexible("bert")
    model.add_classification_head("h")
    logits = model(**batch("bert"), return_dict=False)[0]
    assert torch.equal(logits, model(**batch("bert")).logits)


def test_hidden_states_and_attentions_come_through():
    model = flexible("bert")
    model.set_attn_implementation("eager")
    model.add_tagging_head("h")
    outputs = model(**batch("bert"), output_hidden_states=True, output_attentions=True)
    assert isinstance(outputs, TokenClassifierOutput)
    assert len(outputs.hidden_states) == 3
    assert len(outputs.attentions) == 2


def test_a_configuration_with_a_field_that_the_head_lacks_is_refused():
    with pytest.raises(ConfigError, match=r"head 'h' cannot be built from .*unexpected"):
        flexible("bert").add_prediction_head_from_config("h", {"head_type": "tagging", "size": 3})


def test_a_pooler_is_used_when_asked_for():
    model = flexible("bert")
    model.add_classification_head("h", use_pooler=True, layers=1)
    pooled = model.base_model(**batch("bert")).pooler_output
    assert torch.equal(model(**batch("bert")).logits, model.heads["h"].through(pooled))
    other = flexible("distilbert")
    other.add_classification_head("h", use_pooler=True)
    with pytest.raises(ConfigError, match="uses a pooler, but the base model has none"):
        other(**batch("distilbert"))


# --- what they compute


def test_one_label_is_regression():
    model = flexible("bert")
    model.add_classification_head("h", num_labels=1)
    target = torch.tensor([0.5, -1.0, 2.0])
    outputs = model(**batch("bert"), labels=target)
    assert torch.equal(outputs.loss, F.mse_loss(outputs.logits.squeeze(1), target))


def test_labels_of_padding_do_not_count_for_a_tagging_head():
    model = flexible("bert")
    model.add_tagging_head("h")
    inputs, labels = batch("bert"), asked("tagging")["labels"]
    mask = torch.ones_like(labels)
    mask[:, -2:] = 0
    inputs["attention_mask"] = mask
    expected = model(**inputs, labels=labels.masked_fill(mask == 0, -100)).loss
    assert torch.equal(model(**inputs, labels=labels).loss, expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"label2id": ["x", "y"]},
        {"label2id": {"x": None}},
        {"id2label": {"first": "x"}},
        {"num_labels": -1},
        {"num_labels": {}},
        {"dropout_prob": 7},
        {"layers": 2, "activation_function": "no such"},
    ],
)
def test_a_configuration_that_no_head_can_have_is_refused(fields):
    model = flexible("bert")
    with pytest.raises(ConfigError):
        model.add_prediction_head_from_config("h", {"head_type": "tagging", **fields})
    with pytest.raises(ConfigError):
        model.add_prediction_head_from_config("h", "tagging")
    with pytest.raises(UnsupportedHead):
        model.add_prediction_head_from_config("h", {"head_type": ["tagging"]})
    assert not model.heads


def test_a_head_of_ones_own_may_be_one_of_ours_with_another_constructor():
    class Sentiment(ClassificationHead):
        def __init__(self, model, head_name, mood="good"):
            super().__init__(model, head_name, 2, layers=1, id2label={0: "bad", 1: mood})

    assert list(inspect.signature(Sentiment).parameters) == ["model", "head_name", "mood"]
    model = flexible("bert")
    model.register_custom_head("sentiment", Sentiment)
    model.add_custom_head("sentiment", "h", mood="fine")
    assert model.get_labels() == ["bad", "fine"]
    assert model(**batch("bert"), labels=torch.tensor([0, 1, 1])).loss.isfinite()


def test_a_causal_head_is_held_against_the_next_token():
    model = flexible("gpt2")
    model.add_causal_lm_head("h")
    inputs = batch("gpt2")
    outputs = model(**inputs, labels=inputs["input_ids"])
    expected = F.cross_entropy(
        outputs.logits[:, :-1].flatten(0, 1), inputs["input_ids"][:, 1:].flatten()
    )
    torch.testing.assert_close(outputs.loss, expected)


def test_an_answer_outside_the_text_does_not_count():
    model = flexible("bert")
    model.add_qa_head("h")
    inside = {"start_positions": torch.tensor([0, 2]), "end_positions": torch.tensor([1, 2])}
    two = {key: value[:2] for key, value in batch("bert").items()}
    expected = model(**two, **inside).loss
    outside = {key: torch.cat([value, torch.tensor([77])]) for key, value in inside.items()}
    torch.testing.assert_close(model(**batch("bert"), **outside).loss, expected)
    assert outside["start_positions"][-1] == 77  # the caller's tensor is as it was


def test_decoders_decide_on_the_last_token_that_is_no_padding():
    model = flexible("llama")
    model.add_classification_head("h")
    inputs = batch("llama", rows=1)
    alone = model(**inputs).logits
    for left in (True, False):
        pad = (2, 0) if left else (0, 2)
        padded = {key: F.pad(value, pad) for key, value in inputs.items()}
        position = padded["attention_mask"].cumsum(-1).sub(1).clamp(min=0)
        logits = model(**padded, position_ids=position).logits
        torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("model_type", ["bart", "plbart", "mbart", "t5"])
def test_an_encoder_decoder_decides_where_the_decoders_input_ends(model_type):
    """Also when that is not as long as the encoder's."""
    model = flexible(model_type)
    model.add_classification_head("h")
    inputs = batch(model_type)
    written = batch(model_type, length=4, seed=1)["input_ids"]
    hidden = model.base_model(**inputs, decoder_input_ids=written).last_hidden_state
    logits = model(**inputs, decoder_input_ids=written).logits
    torch.testing.assert_close(logits, model.heads["h"].through(hidden[:, -1]))


@pytest.mark.parametrize("model_type", ["bart", "t5"])
def test_a_seq2seq_head_makes_the_decoders_input_from_the_labels(model_type):
    model = flexible(model_type)
    model.add_seq2seq_lm_head("h")
    inputs, labels = batch(model_type), asked("seq2seq_lm")["labels"]
    shifted = model.prepare_decoder_input_ids_from_labels(labels)
    expected = model(**inputs, decoder_input_ids=shifted).logits
    assert torch.equal(model(**inputs, labels=labels).logits, expected)


def test_words_are_the_means_of_their_tokens():
    hidden = torch.randn(2, 7, WIDTH)
    starts = torch.tensor([[1, 2, 4, 5, 0, 0, 0], [1, 4, 5, 6, -1, -1, -1]])
    words = mean_of_words(hidden, starts)
    assert words.shape == hidden.shape
    torch.testing.assert_close(words[0, 1], hidden[0, 2:4].mean(0))
    torch.testing.assert_close(words[1, 0], hidden[1, 1:4].mean(0))
    assert torch.equal(words[:, 3:], torch.zeros(2, 4, WIDTH))


def test_the_loss_of_a_parse_counts_the_root_and_leaves_out_what_is_negative():
    arcs, relations = torch.randn(1, 3, 4), torch.randn(1, 3, 4, 2)
    heads, labels = torch.tensor([[0, 1, -1]]), torch.tensor([[1, 0, -1]])
    expected = F.cross_entropy(arcs[0, :2], heads[0, :2]) + F.cross_entropy(
        torch.stack([relations[0, 0, 0], relations[0, 1, 1]]), labels[0, :2]
    )
    torch.testing.assert_close(parsing_loss(arcs, relations, heads, labels), expected)


def test_a_parser_needs_to_know_the_words():
    model = flexible("bert")
    model.add_dependency_parsing_head("h")
    with pytest.raises(TypeError, match="needs `word_starts`"):
        model(**batch("bert"))


# --- heads of one's own


class Counting(PredictionHead):
    """Predicts, per token, from what its own layers give and an input of its own."""

    def __init__(self, model, head_name, num_labels=2, **fields):
        super().__init__(head_name)
        self.config = {"num_labels": num_labels, "layers": 1, "activation_function": None}
        self.build(model)

    def forward(
        self, outputs, cls_output=None, attention_mask=None, return_dict=True, extra=0.0, **kwargs
    ):
        logits = super().forward(outputs[0]) + extra
        return TokenClassifierOutput(logits=logits)


def test_a_head_of_ones_own_is_registered_added_saved_and_loaded(tmp_path):
    model = flexible("bert")
    model.register_custom_head("counting", Counting)
    model.add_custom_head(head_type="counting", head_name="mine", num_labels=3)
    inputs = batch("bert")
    logits = model(**inputs, extra=1.0).logits
    assert logits.shape == (3, 6, 3)
    torch.testing.assert_close(logits, model(**inputs).logits + 1.0)
    model.add_adapter("mine", "seq_bn")
    model.set_active_adapters("mine")
    model.save_adapter(tmp_path, "mine")
    other = flexible("bert")
    with pytest.raises(UnsupportedHead, match="register_custom_head"):
        other.load_adapter(tmp_path)
    other.register_custom_head("counting", Counting)
    other.load_adapter(tmp_path, set_active=True)
    assert torch.equal(other(**inputs).logits, model(**inputs).logits)


# --- averages


def test_the_average_of_a_head_with_itself_is_that_head():
    model = flexible("bert")
    add(model, "classification", "a")
    add(model, "classification", "b")
    model.average_head("same", ["a"], set_active=True)
    assert torch.equal(model(**batch("bert")).logits, model(**batch("bert"), head="a").logits)
    model.average_head("mean", {"a": 1.0, "b": 3.0})
    for key, parameter in model.heads["mean"].named_parameters():
        a, b = (dict(model.heads[name].named_parameters())[key] for name in "ab")
        torch.testing.assert_close(parameter, 0.25 * a + 0.75 * b)
    model.average_head("sum", ["a", "b"], weights=[1, 1], normalize_weights=False)
    assert model.active_head == "same"


def test_a_head_that_is_named_twice_counts_twice():
    model = flexible("bert")
    for name in "ab":
        add(model, "tagging", name)
    model.average_head("twice", ["a", "a", "b"])
    model.average_head("weighted", {"a": 2, "b": 1})
    twice, weighted = (model.heads[name].state_dict() for name in ("twice", "weighted"))
    for key in weighted:
        torch.testing.assert_close(twice[key], weighted[key])


def test_unlike_heads_have_no_average():
    model = flexible("bert")
    model.add_tagging_head("a", num_labels=2)
    model.add_tagging_head("b", num_labels=3)
    with pytest.raises(ConfigError, match="heads of different configurations have no mean"):
        model.average_head("mean", ["a", "b"])
    with pytest.raises(ConfigError, match="2 heads need as many weights, not 1"):
        model.average_head("mean", ["a", "b"], weights=[1])
    assert set(model.heads) == {"a", "b"}


def test_the_average_of_tied_heads_stays_tied():
    model = flexible("bert")
    model.add_masked_lm_head("a")
    model.add_masked_lm_head("b")
    model.average_head("c", ["a", "b"])
    assert model.heads["c"].get_output_embeddings().weight is model.get_input_embeddings().weight


def test_every_tiny_type_with_heads_is_tested():
    assert set(WITH_HEADS) == set(FIELDS) - {"clip"}
