"""An encoder and a decoder of types of their own, joined: EncoderDecoderModel.

What holds of every architecture is tested of pairs in test_laws.py, and what the reference computes
with them in test_golden.py.
"""

import json
from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file

import adapters_runtime
from adapters_runtime import PrefixTuningConfig
from adapters_runtime.architectures import ARCHITECTURES, architecture_of_config, fitted
from adapters_runtime.architectures.pairs import paired as paired_spec
from adapters_runtime.configs import AdapterConfig, load_config
from adapters_runtime.configs.numbering import GOES_ON
from adapters_runtime.errors import ConfigError, UnsupportedArchitecture, UnsupportedPair
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.io.card import write_card
from adapters_runtime.io.embeddings import write_weight
from adapters_runtime.shapes import BaseDescription, expected_tensors
from tests.support.running import output_of, randomise_adapter
from tests.support.tiny_models import (
    AS_DECODER,
    CROSS_ATTENDING,
    FIELDS,
    PAIRS,
    VOCABULARY,
    WIDTH,
    pair_config,
)

METHODS = (
    "double_seq_bn_inv[reduction_factor=4,cross_adapter=True]",
    "compacter[phm_dim=2,reduction_factor=4]",
    "lora[r=2,attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]",
    "prefix_tuning[prefix_length=3,bottleneck_size=5,use_gating=True]",
    "prompt_tuning[prompt_length=3]",
    "loreft[r=2,suffix_positions=2]",
    "vera[r=2]",
)
ENCODERS = (
    *("albert", "bert", "bert-generation", "camembert", "deberta", "deberta-v2", "distilbert"),
    *("electra", "modernbert", "mpnet", "roberta", "xlm-roberta", "xmod"),
)
DECODERS = (*CROSS_ATTENDING, "bart", "gpt2", "mbart", "plbart")


def typed(model_type, **fields):
    return {"model_type": model_type, **FIELDS[model_type], **fields}


def paired(encoder, decoder):
    torch.manual_seed(0)
    return transformers.EncoderDecoderModel(pair_config(encoder, decoder)).eval()


def works(model, method, tmp_path):
    """Hold an adapter to have an effect, to be saved as expected, and to leave without a trace."""
    before = output_of(model)
    adapters_runtime.init(model)
    assert torch.equal(output_of(model), before)
    model.add_adapter("a", method, set_active=True)
    randomise_adapter(model, "a")
    after = output_of(model)
    assert not torch.allclose(after, before)
    names = {k: tuple(p.shape) for k, p in model.named_parameters() if "adapter_bank" not in k}
    base = BaseDescription("encoder-decoder", model.config.to_dict(), names)
    model.save_adapter(tmp_path / "a", "a")
    saved = load_file(tmp_path / "a" / "adapter.safetensors")
    expected = expected_tensors("a", load_config(method), base)
    assert {key: tuple(tensor.shape) for key, tensor in saved.items()} == expected
    model.delete_adapter("a")
    assert torch.equal(output_of(model), before)
    model.load_adapter(tmp_path / "a", set_active=True)
    assert torch.equal(output_of(model), after)


def long_but_for(chosen, every):
    return [pytest.param(x, marks=[] if x in chosen else [pytest.mark.long]) for x in every]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoder", long_but_for(["deberta"], ENCODERS))
def test_any_encoder_can_be_one(encoder, method, tmp_path):
    works(paired(typed(encoder), typed("bert", num_hidden_layers=3)), method, tmp_path)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("decoder", long_but_for(["electra"], DECODERS))
def test_any_decoder_with_cross_attention_can_be_one(decoder, method, tmp_path):
    # transformers counts the layers of BART's cache in an encoder that is not there.
    same = {"decoder_layers": 2} if "decoder_layers" in FIELDS[decoder] else {}
    works(paired(typed("bert"), typed(decoder, **same)), method, tmp_path)


def test_every_specified_type_is_known_to_be_a_half_or_none():
    found = {"encoder": set(), "decoder": set()}
    for model_type in ARCHITECTURES:
        for role, other in (("encoder", "decoder"), ("decoder", "encoder")):
            parts = {role: {"model_type": model_type}, other: {"model_type": "bert"}}
            try:
                architecture_of_config({"model_type": "encoder-decoder", **parts})
                found[role].add(model_type)
            except UnsupportedPair as error:
                assert model_type in str(error)  # noqa: PT017  (either outcome is right)
    assert found["encoder"] >= set(ENCODERS)
    # transformers joins no encoder to the decoders of these three.
    assert found["decoder"] == {*DECODERS, "whisper", "t5", "mt5"}


@pytest.mark.parametrize(
    ("encoder", "decoder", "what"),
    [
        ("t5", "bert", "t5 cannot be the encoder"),
        ("vit", "bert", "vit cannot be the encoder"),
        ("bert", "llama", "llama cannot be the decoder"),
        ("bert", "something-new", "no specification for model type 'something-new'"),
    ],
)
def test_what_cannot_be_a_half_is_refused_by_name(encoder, decoder, what):
    parts = {"encoder": {"model_type": encoder}, "decoder": {"model_type": decoder}}
    with pytest.raises(UnsupportedArchitecture, match=what):
        architecture_of_config({"model_type": "encoder-decoder", **parts})


@pytest.mark.parametrize("parts", [{}, {"encoder": "bert", "decoder": ["gpt2"]}])
def test_a_pair_that_does_not_say_its_parts_is_refused(parts):
    with pytest.raises(UnsupportedArchitecture):
        architecture_of_config({"model_type": "encoder-decoder", **parts})


def test_a_method_must_be_allowed_in_both_halves():
    bert, gpt2 = ARCHITECTURES["bert"], ARCHITECTURES["gpt2"]
    assert paired_spec(bert, gpt2).methods is None
    limited = replace(bert, methods=("lora", "reft", "bottleneck"))
    assert paired_spec(limited, gpt2).methods == ("bottleneck", "lora", "reft")
    other = replace(gpt2, methods=("lora", "invertible"))
    assert paired_spec(limited, other).methods == ("lora",)


def test_halves_that_share_weights_are_refused():
    model = paired(typed("roberta"), typed("roberta"))
    model.decoder.roberta.encoder.layer[1].attention = model.encoder.encoder.layer[1].attention
    name = "roberta.encoder.layer.1.attention.self.query.weight"
    with pytest.raises(UnsupportedPair, match=f"its {name} is the encoder's"):
        adapters_runtime.init(model)


def test_one_matrix_for_halves_of_different_widths_is_refused(adapted):
    model = adapted("bert+gpt2")
    with pytest.raises(ConfigError, match="needs the same sizes in all layers"):
        model.add_adapter("a", "compacter[phm_dim=2,reduction_factor=4,shared_W_phm=True]")
    assert not model.has_adapters()


def test_the_decoders_layers_go_on_where_the_encoders_end(adapted):
    model = adapted("bert+gpt2")
    model.add_adapter("a", "seq_bn[reduction_factor=4,leave_out=[0,3]]")
    paths = {key.partition(".output")[0] for key, _ in bank_of(model).saved_tensors("a")}
    assert paths == {
        "encoder.encoder.layer.1",
        "decoder.transformer.h.0",
        "decoder.transformer.h.2",
    }
    assert set(model.get_adapter("a")) == {1, 2, 4}


@pytest.mark.parametrize(
    ("fields", "pools"),
    [
        ({}, {"encoder self", "decoder self", "decoder cross"}),
        ({"encoder_prefix": False}, {"decoder self", "decoder cross"}),
        ({"cross_prefix": False}, {"encoder self", "decoder self"}),
    ],
)
def test_prefixes_stand_where_the_configuration_says(adapted, fields, pools):
    model = adapted("bert+gpt2")
    model.add_adapter("a", PrefixTuningConfig(prefix_length=3, flat=True, **fields))
    steps = [key.split(".") for key, _ in bank_of(model).saved_tensors("a")]
    assert {f"{step[0]} {step[-2].removesuffix('_prefix')}" for step in steps} == pools


def test_a_vocabulary_of_its_own_is_the_encoders(adapted, tmp_path):
    model = adapted("bert+gpt2")
    before = output_of(model)
    torch.manual_seed(1)
    write_weight(tmp_path / "rows", torch.randn(40, WIDTH))
    model.load_embeddings(tmp_path / "rows", "other")
    assert (model.config.encoder.vocab_size, model.config.decoder.vocab_size) == (40, VOCABULARY)
    assert not torch.allclose(output_of(model), before)
    ids = torch.tensor([[4, 38, 39]])
    with pytest.warns(FutureWarning, match="computing the loss inside"):
        assert model(input_ids=ids, labels=torch.tensor([[4, 5]])).loss.isfinite()
    model.add_adapter("a", "seq_bn[reduction_factor=4]")
    model.save_adapter(tmp_path / "a", "a")
    base = json.loads((tmp_path / "a" / "hub_base.json").read_text("utf-8"))["config"]
    assert base["encoder"]["vocab_size"] == base["decoder"]["vocab_size"] == VOCABULARY
    model.set_active_embeddings("default")
    assert torch.equal(output_of(model), before)


def test_only_body_and_embeddings_identify_a_pair(adapted):
    model = adapted("bert+bert")
    architecture = bank_of(model).architecture
    roles = {name: architecture.role_of(name) for name, _ in model.named_parameters()}
    heads = {name for name in roles if name.startswith("decoder.cls.")}
    assert heads
    apart = {name for name, role in roles.items() if role == "apart"}
    assert apart == heads | {name for name in roles if name.startswith("encoder.pooler.")}
    embeddings = {name for name, role in roles.items() if role == "embeddings"}
    assert embeddings == {name for name in roles if ".embeddings." in name}


def test_a_projection_between_the_halves_belongs_to_the_body(adapted):
    assert bank_of(adapted("bert+gpt2")).architecture.role_of("enc_to_dec_proj.weight") == "body"


@pytest.mark.parametrize("name", PAIRS)
def test_gates_and_fusions_report_of_every_layer(adapted, name):
    model = adapted(name)
    for adapter in "ab":
        model.add_adapter(adapter, "seq_bn[reduction_factor=4,use_gating=True]")
    model.add_adapter_fusion(["a", "b"], set_active=True)
    ids = torch.arange(4, 10)[None]
    outputs = model(
        input_ids=ids,
        decoder_input_ids=ids,
        output_adapter_gating_scores=True,
        output_adapter_fusion_attentions=True,
    )
    assert set(outputs.adapter_gating_scores["a"]) == set(range(5))
    assert set(outputs.adapter_fusion_attentions["a,b"]) == set(range(5))


def test_gpt2_as_a_decoder_alone_takes_prefixes_in_its_cross_attention():
    torch.manual_seed(0)
    model = transformers.GPT2Model(transformers.GPT2Config(**FIELDS["gpt2"], **AS_DECODER)).eval()
    adapters_runtime.init(model)
    model.add_adapter("a", "prefix_tuning_flat[prefix_length=3]", set_active=True)
    randomise_adapter(model, "a")
    inputs = {"input_ids": torch.arange(4, 10)[None]}
    encoded = [torch.randn(1, 5, model.config.hidden_size) for _ in range(2)]
    outputs = [output_of(model, {**inputs, "encoder_hidden_states": e}) for e in encoded]
    assert not torch.allclose(*outputs)
    keys = [key for key, _ in bank_of(model).saved_tensors("a")]
    assert {key.split(".")[3] for key in keys} == {"self_prefix", "cross_prefix"}


def test_a_gpt2_without_cross_attention_has_no_place_there():
    names = dict(
        transformers.GPT2Model(transformers.GPT2Config(**FIELDS["gpt2"])).named_parameters()
    )
    stack = fitted(ARCHITECTURES["gpt2"], names).stacks[0]
    assert [attention.role for attention in stack.attentions] == ["self"]


@pytest.mark.parametrize(
    ("config", "shared"),
    [
        ("double_seq_bn[reduction_factor=4,leave_out=[0,2]]", True),
        ("double_seq_bn[reduction_factor=4,leave_out=[4]]", True),
        ("double_seq_bn[reduction_factor=4,leave_out=[0]]", False),
        ("lora[r=2,leave_out=[3]]", False),
        ("par_bn[leave_out=[1,3]]|prefix_tuning[flat=True,leave_out=[0,2]]", True),
        ("seq_bn[reduction_factor={'0':2,'2':2,'default':4}]", True),
        ("seq_bn[reduction_factor={'0':2,'3':8,'default':4}]", False),
        ("loreft[layers=[1,3]]", True),
        ("loreft[layers=[0,1]]", False),
    ],
)
def test_a_file_numbers_layers_as_its_library_does(adapted, tmp_path, config, shared):
    """Two layers and three: what AdapterHub's numbers cannot say, a file says with ours."""
    model, other = adapted("bert+gpt2"), adapted("bert+gpt2")
    model.add_adapter("a", config, set_active=True)
    randomise_adapter(model, "a")
    expected = output_of(model)
    model.save_adapter(tmp_path, "a")
    document = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    assert document.get(GOES_ON) == (None if shared else True)
    same = AdapterConfig.from_dict(document["config"]) == model.adapters_config["a"]
    assert same != shared
    other.load_adapter(tmp_path, set_active=True)
    assert other.adapters_config["a"] == model.adapters_config["a"]
    assert torch.equal(output_of(other), expected)
    model.load_adapter(tmp_path)  # where the one it was saved from stands
    assert torch.equal(output_of(model), expected)


def test_a_pair_has_no_class_with_flexible_heads():
    with pytest.raises(ConfigError, match="load_model"):
        adapters_runtime.AutoAdapterModel.from_config(pair_config(*PAIRS["bert+bert"]))


def test_a_card_says_how_a_pair_is_loaded(adapted, tmp_path):
    """There is no AutoAdapterModel of pairs: they bring their head."""
    write_card(tmp_path, adapted("bert+bert"), "a", repository="x/a", loaded_by="load_adapter")
    text = (tmp_path / "README.md").read_text("utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    assert 'load_model("encoder-decoder", EncoderDecoderModel)' in code
    compile(code, "card", "exec")
