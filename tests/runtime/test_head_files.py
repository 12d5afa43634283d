"""Heads in files: beside their adapter, in folders of their own, in a saved model."""

import copy
import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification

from adapters_runtime import AutoAdapterModel, init
from adapters_runtime.errors import ConfigError, TensorMismatch
from adapters_runtime.heads import ClassificationHead
from tests.support.heads import flexible
from tests.support.inputs import batch
from tests.support.tiny_models import build_tiny


def test_a_head_is_saved_and_loaded_with_its_adapter(tmp_path):
    model = flexible("bert")
    model.add_adapter("a", "seq_bn")
    model.add_tagging_head("a", num_labels=3)
    model.save_adapter(tmp_path, "a")
    model.set_active_adapters("a")
    other = flexible("bert")
    other.load_adapter(tmp_path, load_as="b", id2label={0: "x", 1: "y", 2: "z"}, set_active=True)
    assert other.active_head == "b"
    assert other.get_labels() == ["x", "y", "z"]
    assert torch.equal(other(**batch("bert")).logits, model(**batch("bert")).logits)
    with pytest.raises(ConfigError, match="must name the classes 0 to 2"):
        other.load_adapter(tmp_path, load_as="c", id2label={0: "x"})
    assert other.load_adapter(tmp_path, load_as="d", with_head=False) == "d"
    assert "d" not in other.heads


def test_labels_come_back_in_the_order_of_their_numbers(tmp_path):
    model = flexible("bert")
    model.add_classification_head("h", num_labels=3, id2label={0: "pos", 1: "neg", 2: "mid"})
    model.save_head(tmp_path, "h")
    other = flexible("bert")
    other.load_head(tmp_path)
    assert other.get_labels() == ["pos", "neg", "mid"]
    assert list(other.config.id2label.items()) == [(0, "pos"), (1, "neg"), (2, "mid")]


def test_the_labels_of_a_static_head_come_with_it(tmp_path):
    model = classifier({0: "pos", 1: "neg", 2: "mid"})
    model.add_adapter("a", "seq_bn")
    model.save_adapter(tmp_path, "a")
    other = classifier({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"})
    other.load_adapter(tmp_path)
    assert other.config.id2label == {0: "pos", 1: "neg", 2: "mid"}
    assert other.config.label2id == {"pos": 0, "neg": 1, "mid": 2}
    other.load_adapter(tmp_path, id2label={0: "x", 1: "y", 2: "z"})
    assert other.config.id2label == {0: "x", 1: "y", 2: "z"}
    with pytest.raises(ConfigError, match="must name the classes 0 to 2"):
        other.load_adapter(tmp_path, id2label={0: "x"})


def classifier(labels):
    """A tiny BERT that was built with a head."""
    config = copy.deepcopy(build_tiny("bert").config)
    config.id2label, config.label2id = labels, {label: index for index, label in labels.items()}
    model = BertForSequenceClassification(config).eval()
    model.base_model.load_state_dict(build_tiny("bert").state_dict())
    init(model)
    return model


def test_a_head_beside_an_adapter_takes_nothing_from_what_is_said_of_it(tmp_path):
    """So does a Trainer save them, one after the other."""
    model = flexible("bert")
    model.add_adapter("a", "seq_bn")
    model.add_tagging_head("a")
    model.describe_adapter("a", kind="task", languages=["de"])
    model.save_adapter(tmp_path, "a")
    before = (tmp_path / "hub_adapter.json").read_bytes()
    model.save_head(tmp_path, "a")
    assert (tmp_path / "hub_adapter.json").read_bytes() == before


def test_a_trained_table_comes_with_the_head_and_serves_both_ends(tmp_path):
    """A reference file holds the tied projection; one that was trained differs from the base's."""
    model = flexible("bert")
    model.add_masked_lm_head("h")
    inputs = batch("bert")
    plain = model(**inputs).logits
    model.save_head(tmp_path / "tied", "h")
    trained = flexible("bert")
    with torch.no_grad():
        trained.get_input_embeddings().weight.add_(0.1)
    trained.load_head(tmp_path / "tied")
    path = tmp_path / "tied" / "model_head.safetensors"
    tensors = load_file(path)
    assert "heads.h.3.weight" not in tensors
    save_file(tensors | {"heads.h.3.weight": trained.get_input_embeddings().weight.detach()}, path)
    model.load_head(tmp_path / "tied", load_as="own")
    torch.testing.assert_close(model(**inputs).logits, trained(**inputs).logits)
    assert torch.equal(model(**inputs, head="h").logits, plain) is False  # own is still active
    model.active_head = "h"
    assert torch.equal(model(**inputs).logits, plain)
    model.save_head(tmp_path / "own", "own")
    assert "heads.own.3.weight" in load_file(tmp_path / "own" / "model_head.safetensors")


def test_a_head_of_a_grown_vocabulary_comes_back(tmp_path):
    model = flexible("bert")
    model.add_masked_lm_head("h")
    model.resize_token_embeddings(50, mean_resizing=False)
    expected = model.eval()(**batch("bert")).logits
    assert expected.shape[-1] == 50
    model.save_head(tmp_path / "h", "h")
    model.delete_head("h")
    model.load_head(tmp_path / "h")
    assert torch.equal(model(**batch("bert")).logits, expected)
    model.save_pretrained(tmp_path / "whole")
    other = AutoAdapterModel.from_pretrained(tmp_path / "whole").eval()
    assert torch.equal(other(**batch("bert"), head="h").logits, expected)


def test_what_registers_a_base_says_nothing_of_heads(tmp_path):
    model = flexible("bert")
    model.add_tagging_head("h")
    model.save_pretrained(tmp_path / "whole")
    other = AutoAdapterModel.from_pretrained(tmp_path / "whole")
    other.add_adapter("a", "seq_bn")
    other.save_adapter(tmp_path / "a", "a")
    config = json.loads((tmp_path / "a" / "hub_base.json").read_text())["config"]
    assert "prediction_heads" not in config


def test_a_model_comes_back_without_a_head_of_a_type_that_is_not_known_yet(tmp_path):
    class Mine(ClassificationHead):
        pass

    model = flexible("bert")
    model.register_custom_head("mine", Mine)
    model.add_custom_head("mine", "m", num_labels=4)
    model.save_head(tmp_path / "m", "m")
    model.save_pretrained(tmp_path / "whole")
    with pytest.warns(UserWarning, match="the head 'm' was left out: .* no head of type 'mine'"):
        other = AutoAdapterModel.from_pretrained(tmp_path / "whole").eval()
    other.register_custom_head("mine", Mine)
    other.load_head(tmp_path / "m")
    assert torch.equal(other(**batch("bert")).logits, model(**batch("bert")).logits)


def test_a_file_may_hold_the_heads_whose_names_begin_alike_too(tmp_path):
    """So AdapterHub's library saves `ner` where the model has `ner2`."""
    model = flexible("bert")
    model.add_tagging_head("ner")
    model.save_head(tmp_path, "ner")
    path = tmp_path / "model_head.safetensors"
    more = {"heads.ner2.1.weight": torch.zeros(3, 16), "heads.ner2.1.bias": torch.zeros(3)}
    save_file(load_file(path) | more, path)
    other = flexible("bert")
    other.load_head(tmp_path)
    assert torch.equal(other(**batch("bert")).logits, model(**batch("bert")).logits)


def test_a_damaged_head_is_refused_and_changes_nothing(tmp_path):
    model = flexible("bert")
    model.add_tagging_head("h")
    model.save_head(tmp_path, "h")
    path = tmp_path / "model_head.safetensors"
    tensors = load_file(path)
    tensors["heads.h.7.weight"] = tensors.pop("heads.h.1.weight")
    save_file(tensors, path)
    before = model(**batch("bert")).logits
    with pytest.raises(TensorMismatch, match=r"missing: 1.weight.*unexpected: 7.weight"):
        model.load_head(tmp_path)
    assert torch.equal(model(**batch("bert")).logits, before)


def test_all_heads_are_saved_to_folders_of_their_own(tmp_path):
    model = flexible("bert")
    model.add_tagging_head("a/b")
    model.add_qa_head("c")
    model.save_all_heads(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a%2Fb", "c"]
    other = flexible("bert")
    assert {other.load_head(path) for path in tmp_path.iterdir()} == {"a/b", "c"}


def test_a_model_is_saved_with_its_heads_and_brings_them_back(tmp_path):
    model = flexible("bert")
    model.add_tagging_head("tags", num_labels=3)
    model.add_masked_lm_head("mlm")
    model.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = AutoAdapterModel.from_pretrained(tmp_path).eval()
    for head in ("tags", "mlm"):
        ours, theirs = (m(**batch("bert"), head=head).logits for m in (model, other))
        assert torch.equal(ours, theirs)
    assert not hasattr(model.config, "prediction_heads")
