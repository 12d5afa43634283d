"""Folders that older releases of AdapterHub's libraries wrote are read as they were meant."""

import json

import pytest
import torch
from safetensors.torch import load_file

from adapters_runtime import (
    AutoAdapterModel,
    Fuse,
    IA3Config,
    LoRAConfig,
    SeqBnConfig,
    SeqBnInvConfig,
)
from tests.support.running import inputs_for, output_of, randomise, randomise_adapter

TASK = {"attention.output.adapters": "attention.output.attention_text_task_adapters"} | {
    "output.adapters": "output.layer_text_task_adapters"
}
LANGUAGE = {name: old.replace("task", "lang") for name, old in TASK.items()} | {
    "invertible_adapters": "invertible_lang_adapters"
}


_CAPITALS = ("MH_Adapter", "Output_Adapter", "LN_before", "LN_after")


def saved(model, name, folder):
    model.save_adapter(folder, name)
    return folder


def change(path, **fields):
    """Put other fields into a document; None takes a field out."""
    document = json.loads(path.read_text("utf-8")) | fields
    kept = {name: value for name, value in document.items() if value is not None}
    path.write_text(json.dumps(kept), "utf-8")


def pickled(folder, spellings, stem="adapter"):
    """Make the weights a pickle with other names."""
    tensors = load_file(folder / f"{stem}.safetensors")
    (folder / f"{stem}.safetensors").unlink()
    old = {}
    for key, tensor in tensors.items():
        place = next((place for place in spellings if f"{place}." in key), None)
        old[key.replace(place, spellings[place]) if place else key] = tensor
    assert not spellings or old.keys() != tensors.keys()
    torch.save(old, folder / f"pytorch_{stem}.bin")


def first_release(config, **changes):
    """Return the configuration as the first release spelled it."""
    names = ("mh_adapter", "output_adapter", "ln_before", "ln_after")
    capitals = dict(zip(names, _CAPITALS, strict=True))
    known = {*names, "original_ln_before", "original_ln_after", "reduction_factor"}
    known |= {"residual_before_ln", "adapter_residual_before_ln", "non_linearity"}
    fields = {capitals.get(name, name): config[name] for name in known}
    return fields | {"attention_type": "sent-lvl-dynamic", "new_attention_norm": False} | changes


def reloaded(adapted, folder, model_type="bert"):
    model = adapted(model_type)
    model.load_adapter(folder, set_active=True)
    return model


def with_adapter(adapted, config, model_type="bert"):
    model = adapted(model_type)
    model.add_adapter("a", config)
    randomise_adapter(model, "a")
    model.set_active_adapters("a")
    return model


def test_a_language_adapter_of_the_first_release_is_read(adapted, tmp_path):
    config = SeqBnInvConfig(reduction_factor=2, mh_adapter=True, non_linearity="gelu_new")
    model = with_adapter(adapted, config)
    folder = saved(model, "a", tmp_path)
    block = {"block_type": "nice", "non_linearity": "relu", "reduction_factor": 2}
    old = first_release(config, non_linearity="gelu", invertible_adapter=block)
    change(folder / "adapter_config.json", config=old, type="text_lang", version=None)
    pickled(folder, LANGUAGE)
    other = reloaded(adapted, folder)
    assert other.adapters_config.get("a") == config
    assert torch.equal(output_of(other), output_of(model))


@pytest.mark.parametrize("version", [None, "1.1.1"])
def test_a_task_adapter_has_no_invertible_part_whatever_its_file_says(adapted, tmp_path, version):
    config = SeqBnConfig(reduction_factor=2, mh_adapter=True, non_linearity="relu")
    model = with_adapter(adapted, config)
    folder = saved(model, "a", tmp_path)
    named = {**config.to_dict(), "inv_adapter": "nice", "inv_adapter_reduction_factor": 2}
    change(folder / "adapter_config.json", config=named, type="text_task", version=version)
    pickled(folder, TASK)
    other = reloaded(adapted, folder)
    assert other.adapters_config.get("a") == config
    assert torch.equal(output_of(other), output_of(model))


@pytest.mark.parametrize(("written", "meant"), [("gelu", "gelu_new"), ("gelu_orig", "gelu")])
def test_activations_had_other_names_before_files_had_versions(adapted, tmp_path, written, meant):
    config = SeqBnConfig(reduction_factor=2, non_linearity=meant)
    model = with_adapter(adapted, config)
    folder = saved(model, "a", tmp_path)
    renamed = {**config.to_dict(), "non_linearity": written}
    change(folder / "adapter_config.json", config=renamed, version=None)
    assert torch.equal(output_of(reloaded(adapted, folder)), output_of(model))


@pytest.mark.parametrize(("version", "alpha"), [("1.0.1", 4), ("1.1.0", 16)])
def test_a_lora_of_a_faulty_release_runs_as_it_was_trained(adapted, tmp_path, version, alpha):
    model = with_adapter(adapted, LoRAConfig(r=4, alpha=alpha))
    folder = saved(model, "a", tmp_path)
    written = LoRAConfig(r=4, alpha=16).to_dict()
    change(folder / "adapter_config.json", config=written, version=f"adapters.{version}")
    other = reloaded(adapted, folder)
    assert torch.equal(output_of(other), output_of(model))


def test_ia3_of_a_faulty_release_is_what_it_was(adapted, tmp_path):
    model = with_adapter(adapted, IA3Config())
    folder = saved(model, "a", tmp_path)
    change(folder / "adapter_config.json", version="adapters.0.1.2")
    assert torch.equal(output_of(reloaded(adapted, folder)), output_of(model))


def test_an_old_name_stands_for_a_configuration(adapted, tmp_path):
    model = with_adapter(adapted, SeqBnConfig())
    folder = saved(model, "a", tmp_path)
    change(folder / "adapter_config.json", config="pfeiffer")
    with pytest.warns(FutureWarning, match="seq_bn"):
        other = reloaded(adapted, folder)
    assert torch.equal(output_of(other), output_of(model))


def test_a_fusion_without_a_list_of_members_is_called_after_them(adapted, tmp_path):
    model = adapted("bert")
    for seed, name in enumerate("ab"):
        model.add_adapter(name, SeqBnConfig(reduction_factor=4))
        randomise_adapter(model, name, seed)
        saved(model, name, tmp_path / name)
    model.add_adapter_fusion(Fuse("a", "b"), set_active=True)
    model.save_adapter_fusion(tmp_path / "fusion", "a,b")
    change(tmp_path / "fusion" / "adapter_fusion_config.json", adapter_names=None, version=None)
    pickled(tmp_path / "fusion", {}, "model_adapter_fusion")
    other = adapted("bert")
    for name in "ab":
        other.load_adapter(tmp_path / name)
    other.load_adapter_fusion(tmp_path / "fusion", set_active=True)
    assert torch.equal(output_of(other), output_of(model))


@pytest.fixture
def with_head(bare_models):
    """Return a function that gives a BERT for flexible heads, always the same."""

    def get():
        model = AutoAdapterModel.from_config(bare_models("bert").config)
        model.base_model.load_state_dict(bare_models("bert").base_model.state_dict())
        return model.eval()

    return get


def test_a_head_of_a_model_with_heads_is_read(with_head, tmp_path):
    model = with_head()
    model.add_adapter("a", SeqBnConfig(reduction_factor=4), set_active=True)
    model.add_classification_head("a", num_labels=3, id2label={0: "x", 1: "y", 2: "z"})
    randomise_adapter(model, "a")
    randomise(model.heads["a"])
    folder = saved(model, "a", tmp_path)
    old = json.loads((folder / "head_config.json").read_text("utf-8"))["config"]
    for name in ("bias", "dropout_prob", "use_pooler"):
        old.pop(name, None)
    change(folder / "head_config.json", config=old, model_class="BertModelWithHeads", version=None)
    pickled(folder, {}, "model_head")
    change(folder / "adapter_config.json", version=None)
    other = with_head()
    other.load_adapter(folder, set_active=True)
    other.active_head = "a"
    inputs = inputs_for(model)
    assert torch.equal(output_of(other, inputs), output_of(model, inputs))
    assert other.get_labels("a") == ["x", "y", "z"]
