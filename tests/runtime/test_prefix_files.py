"""Prefixes in files: saved, loaded, left out of some layers, ejected from their MLPs."""

import json

import pytest
import torch
from transformers import AutoModel, T5Config

from adapters_runtime import init
from adapters_runtime.configs import LoRAConfig, MAMConfig, ParBnConfig, PrefixTuningConfig
from adapters_runtime.errors import ConfigError, FormatError
from adapters_runtime.inject.bank import bank_of
from tests.support.running import inputs_for, output_of, randomise_adapter
from tests.support.tiny_models import FIELDS

SMALL = PrefixTuningConfig(prefix_length=3, bottleneck_size=5)
FLAT = SMALL.replace(flat=True)


@pytest.mark.parametrize("config", [SMALL, FLAT], ids=["mlp", "flat"])
def test_layers_can_be_left_out_when_loading(with_methods, adapted, tmp_path, config):
    model = with_methods("t5", config)
    model.save_adapter(tmp_path / "whole", "a")
    model.set_active_adapters("a", skip_layers=[0, 3])
    expected = output_of(model)
    fewer = adapted("t5")
    fewer.load_adapter(tmp_path / "whole", leave_out=[0, 3], set_active=True)
    assert torch.equal(output_of(fewer), expected)
    fewer.save_adapter(tmp_path / "fewer", "a")
    again = adapted("t5")
    again.load_adapter(tmp_path / "fewer", set_active=True)
    assert torch.equal(output_of(again), expected)


# --- ejecting


@pytest.mark.parametrize("model_type", ["bert", "llama", "mistral", "t5", "deberta-v2", "gptj"])
def test_ejected_prefixes_are_saved_and_loaded_as_what_they_are(
    with_methods, adapted, tmp_path, model_type
):
    model = with_methods(model_type, MAMConfig(SMALL, ParBnConfig()))
    before = output_of(model)
    model.eject_prefix_tuning("a")
    torch.testing.assert_close(output_of(model), before, atol=1e-6, rtol=1e-6)
    model.eject_prefix_tuning("a")  # flat already: nothing to do
    model.save_adapter(tmp_path, "a")
    document = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    assert document["config"]["configs"][0]["flat"] is True
    other = adapted(model_type)
    other.load_adapter(tmp_path, set_active=True)
    assert torch.equal(output_of(other), output_of(model))


def test_prefixes_are_ejected_where_heads_are_not_as_wide_as_the_stream(tmp_path):
    config = T5Config(**FIELDS["t5"] | {"d_kv": 6})
    torch.manual_seed(0)
    model, other = (AutoModel.from_config(config).eval() for _ in range(2))
    other.load_state_dict(model.state_dict())
    for each in (model, other):
        init(each)
    model.add_adapter("a", SMALL, set_active=True)
    randomise_adapter(model, "a")
    before = output_of(model)
    model.eject_prefix_tuning("a")
    torch.testing.assert_close(output_of(model), before, atol=1e-6, rtol=1e-6)
    model.save_adapter(tmp_path, "a")
    other.load_adapter(tmp_path, set_active=True)
    assert torch.equal(output_of(other), output_of(model))


def test_ejected_prefixes_go_on_being_trained(with_methods):
    model = with_methods("bert", SMALL)
    model.train_adapter("a")
    model.eject_prefix_tuning("a")
    model(**inputs_for(model))[0].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in bank_of(model).parameters_of("a"))


def test_only_prefixes_can_be_ejected(adapted):
    model = adapted("bert")
    model.add_adapter("a", LoRAConfig())
    with pytest.raises(ConfigError, match="no prefixes"):
        model.eject_prefix_tuning("a")


# --- files


def test_a_pool_whose_copies_differ_is_no_adapter(with_methods, adapted, tmp_path):
    model = with_methods("bert", FLAT)
    model.save_adapter(tmp_path, "a")
    (tmp_path / "adapter.safetensors").unlink()
    tensor = next(bank_of(model).parameters_of("a")).detach()
    pool = "prefix_tuning.prefix_tunings.a.self_prefix.control_trans"
    again = f"encoder.layer.0.attention.self.{pool.replace('tuning.', 'tuning.pool.', 1)}"
    torch.save({pool: tensor, again: tensor.clone()}, tmp_path / "pytorch_adapter.bin")
    other = adapted("bert")
    other.load_adapter(tmp_path, set_active=True)
    assert torch.equal(output_of(other), output_of(model))
    torch.save({pool: tensor, again: tensor + 1}, tmp_path / "pytorch_adapter.bin")
    with pytest.raises(FormatError, match="two names of one tensor"):
        adapted("bert").load_adapter(tmp_path)
