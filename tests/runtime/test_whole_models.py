"""A model's folder holds the adapters that its last save wrote, wherever it lies."""

import json

import torch
from transformers import BertModel

from adapters_runtime import AutoAdapterModel, load_model
from adapters_runtime.inject.bank import bank_of
from tests.support.heads import flexible


def with_fused_adapters():
    model = flexible("bert")
    for name in ("a", "b"):
        model.add_adapter(name, "seq_bn[reduction_factor=4]")
    model.add_adapter_fusion(["a", "b"])
    return model


def loaded(folder, **options):
    model = AutoAdapterModel.from_pretrained(folder, **options)
    return list(model.adapters_config), list(bank_of(model).fusions)


def test_what_was_deleted_before_the_next_save_does_not_come_back(tmp_path):
    model = with_fused_adapters()
    model.save_pretrained(tmp_path)
    assert loaded(tmp_path) == (["a", "b"], ["a,b"])
    model.delete_adapter_fusion(["a", "b"])
    model.delete_adapter("b")
    model.save_pretrained(tmp_path)
    assert loaded(tmp_path) == (["a"], [])
    model.delete_adapter("a")
    model.save_pretrained(tmp_path)
    assert loaded(tmp_path) == ([], [])


def test_a_merged_model_is_not_given_the_adapters_of_an_earlier_save(tmp_path):
    model = flexible("bert")
    model.add_adapter("a", "lora[init_weights='bert']")
    model.save_pretrained(tmp_path)
    model.merge_adapter("a")
    model.save_pretrained(tmp_path)
    assert loaded(tmp_path) == ([], [])


def test_a_folder_without_an_index_is_loaded_with_all_that_it_holds(tmp_path):
    with_fused_adapters().save_pretrained(tmp_path)
    (tmp_path / "adapters" / "index.json").unlink()
    assert loaded(tmp_path) == (["a", "b"], ["a,b"])


def test_adapters_of_a_model_in_a_subfolder_are_found(tmp_path):
    with_fused_adapters().save_pretrained(tmp_path / "inner")
    assert loaded(tmp_path, subfolder="inner") == (["a", "b"], ["a,b"])
    base = load_model(tmp_path, BertModel, subfolder="inner")
    assert list(base.adapters_config) == ["a", "b"]


def test_options_of_loading_change_the_configuration_as_they_do_in_transformers(tmp_path):
    flexible("bert").save_pretrained(tmp_path)
    options = {"output_attentions": True, "num_labels": 5, "dtype": torch.float16}
    model = AutoAdapterModel.from_pretrained(tmp_path, **options)
    assert model.config.output_attentions
    assert model.config.num_labels == 5
    assert model.dtype == torch.float16
    assert AutoAdapterModel.from_pretrained(tmp_path, dtype="auto").config.dtype == torch.float32


def test_a_base_that_lies_here_is_called_by_its_folder(tmp_path, monkeypatch):
    flexible("bert").save_pretrained(tmp_path / "my-bert")
    monkeypatch.chdir(tmp_path / "my-bert")
    model = AutoAdapterModel.from_pretrained(".")
    model.add_adapter("a", "seq_bn")
    model.save_adapter(tmp_path / "a", "a")
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["model_name"] == (
        "my-bert"
    )


def test_a_name_may_be_longer_than_a_folder_s(tmp_path):
    names = ["語" * 60, "語" * 61, "x" * 300]
    model = flexible("bert")
    for name in names:
        model.add_adapter(name, "seq_bn[reduction_factor=4]")
    model.save_pretrained(tmp_path)
    assert loaded(tmp_path) == (names, [])
