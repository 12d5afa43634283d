"""Heads in files: beside their adapter, in folders of their own, in a saved model."""

import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapters_runtime import AutoAdapterModel
from adapters_runtime.errors import ConfigError, TensorMismatch
from tests.support.heads import flexible
from tests.support.inputs import batch


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
