"""Models described by an interface run the methods that specifications run, with equal outputs."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertModel

import adapters_runtime
from adapters_runtime import AdapterModelInterface, load_model
from adapters_runtime.composition import Stack
from adapters_runtime.configs import BnConfig
from adapters_runtime.errors import ConfigError, UnsupportedSite
from tests.support.running import add_adapters, inputs_for, output_of, randomise_adapter
from tests.support.tiny_models import AS_DECODER, FIELDS, WIDTH

BERT = AdapterModelInterface(
    adapter_methods=["bottleneck", "lora", "reft", "invertible"],
    model_embeddings="embeddings",
    model_layers="encoder.layer",
    layer_self_attn="attention",
    layer_cross_attn=None,
    attn_o_proj="output.dense",
    attn_q_proj="self.query",
    attn_k_proj="self.key",
    attn_v_proj="self.value",
    layer_intermediate_proj="intermediate.dense",
    layer_output_proj="output.dense",
    layer_pre_self_attn="attention",
    layer_pre_ffn="intermediate",
    layer_ln_1="attention.output.LayerNorm",
    layer_ln_2="output.LayerNorm",
)
LLAMA_LIKE = {
    "adapter_methods": ["bottleneck", "lora", "reft", "invertible"],
    "model_embeddings": "embed_tokens",
    "model_layers": "layers",
    "layer_self_attn": "self_attn",
    "layer_cross_attn": None,
    "attn_o_proj": "o_proj",
    "attn_q_proj": "q_proj",
    "attn_k_proj": "k_proj",
    "attn_v_proj": "v_proj",
    "layer_intermediate_proj": "mlp.up_proj",
    "layer_output_proj": "mlp.down_proj",
    "layer_pre_self_attn": "input_layernorm",
    "layer_pre_ffn": "post_attention_layernorm",
}
METHODS = ("seq_bn", "double_seq_bn", "par_bn", "seq_bn_inv", "lora", "loreft")


def adapted_output(model, method, interface=None, inputs=None):
    adapters_runtime.init(model, interface=interface)
    torch.manual_seed(1)
    model.add_adapter("a", method, set_active=True)
    randomise_adapter(model, "a")
    return output_of(model, inputs)


@pytest.mark.parametrize("method", METHODS)
def test_bert_by_an_interface_is_bert(bare_models, method):
    """Of two layers: in the reference each would use the last one's norm."""
    expected = adapted_output(bare_models("bert"), method)
    torch.testing.assert_close(adapted_output(bare_models("bert"), method, BERT), expected)


@pytest.mark.parametrize("order", ["lb", "bl"])
def test_a_map_is_adapted_before_the_site_that_ends_in_it(bare_models, order):
    """The interface's sites end in the maps, the specification's in the dropouts behind them."""
    configs = {"l": "lora[output_lora=True]", "b": "seq_bn[reduction_factor=4]"}
    outputs = []
    for interface in (None, BERT):
        model = bare_models("bert")
        adapters_runtime.init(model, interface=interface)
        for name in order:
            torch.manual_seed(1)
            model.add_adapter(name, configs[name])
            randomise_adapter(model, name)
        model.set_active_adapters(Stack("l", "b"))
        outputs.append(output_of(model))
    torch.testing.assert_close(outputs[1], outputs[0])


EVERY_MAP = "lora[attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]"


@pytest.fixture
def decoder():
    """A BERT that reads an encoder's states, and what it reads."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(**FIELDS["bert"], **AS_DECODER)).eval()
    return model, {**inputs_for(model), "encoder_hidden_states": torch.randn(3, 5, WIDTH)}


@pytest.mark.parametrize("method", [EVERY_MAP, "ia3", "seq_bn", "par_bn", "loreft"])
def test_a_decoder_by_an_interface_is_adapted_in_its_cross_attention_too(decoder, method):
    plain, read = decoder
    by_interface = replace(BERT, layer_cross_attn="crossattention")
    expected = adapted_output(copy.deepcopy(plain), method, inputs=read)
    assert not torch.allclose(expected, output_of(plain, read))
    torch.testing.assert_close(adapted_output(plain, method, by_interface, read), expected)


def test_a_bottleneck_stands_after_cross_attention_where_the_interface_says(decoder):
    by_hand, read = decoder
    model = copy.deepcopy(by_hand)
    cross = {"layer_cross_attn": "crossattention", "layer_pre_cross_attn": "crossattention"}
    adapters_runtime.init(model, interface=replace(BERT, **cross))
    only = {"mh_adapter": False, "output_adapter": False, "cross_adapter": True}
    add_adapters(model, {"a": BnConfig(**only, reduction_factor=4, non_linearity="relu")})
    model.set_active_adapters("a")
    for i, layer in enumerate(by_hand.encoder.layer):
        (adapter,) = model.get_adapter("a")[i].values()

        def add(module, args, output, adapter=adapter):
            return output + adapter.adapter_up(adapter.adapter_down(output))

        layer.crossattention.output.dense.register_forward_hook(add)
    torch.testing.assert_close(output_of(model, read), output_of(by_hand, read))


def test_a_place_before_a_missing_cross_attention_is_refused(bare_models):
    wrong = replace(BERT, layer_pre_cross_attn="intermediate")
    with pytest.raises(ConfigError, match="layer_cross_attn"):
        adapters_runtime.init(bare_models("bert"), interface=wrong)


@pytest.fixture
def unknown():
    """A model of a type without a specification."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("granite", **FIELDS["llama"])
    return AutoModel.from_config(config).eval()


def test_a_type_without_a_specification_is_adapted_saved_and_loaded(unknown, tmp_path):
    plain_class, plain = type(unknown), output_of(unknown)
    interface = AdapterModelInterface(**LLAMA_LIKE)
    adapters_runtime.init(unknown, interface=interface)
    unknown.add_adapter("a", "double_seq_bn[reduction_factor=4]", set_active=True)
    torch.testing.assert_close(output_of(unknown), plain, atol=1e-2, rtol=0)
    randomise_adapter(unknown, "a")
    expected = output_of(unknown)
    assert not torch.allclose(expected, plain, atol=1e-2)

    unknown.save_pretrained(tmp_path)
    document = json.loads((tmp_path / "adapter_interface.json").read_text("utf-8"))
    assert document["model_type"] == "granite"
    assert document["interface"] == interface.to_dict()
    again = load_model(tmp_path, plain_class)
    again.set_active_adapters("a")
    assert torch.equal(output_of(again), expected)


def test_a_method_that_the_interface_does_not_name_is_refused(bare_models):
    model = bare_models("bert")
    adapters_runtime.init(model, interface=BERT)
    with pytest.raises(UnsupportedSite, match="prefix_tuning"):
        model.add_adapter("a", "prefix_tuning")
    assert not model.supports_adapter("prefix_tuning")
    assert model.supports_adapter("lora")
    assert not model.has_adapters()


def test_a_path_that_leads_nowhere_is_named(bare_models):
    wrong = AdapterModelInterface.from_dict({**BERT.to_dict(), "layer_pre_ffn": "nowhere"})
    with pytest.raises(ConfigError, match=r"layer_pre_ffn .* 'nowhere'"):
        adapters_runtime.init(bare_models("bert"), interface=wrong)
    with pytest.raises(ConfigError, match="no field 'attn'"):
        AdapterModelInterface.from_dict({**BERT.to_dict(), "attn": "x"})
    with pytest.raises(ConfigError, match="attn_q_proj, attn_k_proj and attn_v_proj"):
        AdapterModelInterface.from_dict({**BERT.to_dict(), "attn_k_proj": None})
    with pytest.raises(ConfigError, match="adapter_methods"):
        AdapterModelInterface.from_dict({**BERT.to_dict(), "adapter_methods": ["magic"]})


def test_a_model_is_loaded_with_the_adapters_saved_beside_it(bare_models, tmp_path):
    model = bare_models("bert")
    adapters_runtime.init(model)
    for name in ("en/wiki", "b"):
        model.add_adapter(name, "seq_bn[reduction_factor=4]")
        randomise_adapter(model, name)
    model.add_adapter_fusion(["en/wiki", "b"])
    model.set_active_adapters("en/wiki")
    expected = output_of(model)
    model.save_pretrained(tmp_path)

    again = load_model(tmp_path, BertModel)
    assert set(again.adapters_config) == {"en/wiki", "b"}
    again.set_active_adapters("en/wiki")
    assert torch.equal(output_of(again), expected)
    plain = BertModel.from_pretrained(tmp_path).eval()
    model.set_active_adapters(None)
    assert torch.equal(plain(**inputs_for(plain))[0], output_of(model))
