"""Models that have more or less than their type's specification tells of: what is there is adapted.

A BERT that is a decoder reads an encoder's states, an encoder can stand without its decoder, and
each of CLIP's towers is a model of its own.
"""

import pytest
import torch
import transformers
from safetensors.torch import load_file

import adapters_runtime
from adapters_runtime.architectures import fitted, get_architecture
from adapters_runtime.configs import load_config
from adapters_runtime.errors import BaseMismatch, ConfigError
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.shapes import BaseDescription, expected_tensors
from tests.support.running import inputs_for, output_of, randomise_adapter
from tests.support.tiny_models import AS_DECODER, FIELDS

METHODS = (
    "double_seq_bn[reduction_factor=4]",
    "compacter[reduction_factor=4]",
    "lora[r=2,attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]",
    "prefix_tuning[prefix_length=3,bottleneck_size=5]",
    "loreft[r=2,suffix_positions=2]",
)
PARTS = {
    "bert decoder": (transformers.BertModel, {**FIELDS["bert"], **AS_DECODER}),
    "bert decoder with a head": (transformers.BertLMHeadModel, {**FIELDS["bert"], **AS_DECODER}),
    "xmod decoder": (transformers.XmodModel, {**FIELDS["xmod"], **AS_DECODER}),
    "t5 encoder": (transformers.T5EncoderModel, FIELDS["t5"]),
    "mt5 encoder": (transformers.MT5EncoderModel, FIELDS["mt5"]),
    "whisper encoder": (transformers.WhisperForAudioClassification, FIELDS["whisper"]),
    "clip text": (transformers.CLIPTextModelWithProjection, FIELDS["clip_text_model"]),
    "clip vision": (transformers.CLIPVisionModelWithProjection, FIELDS["clip_vision_model"]),
}


@pytest.fixture(params=PARTS)
def part(request):
    cls, fields = PARTS[request.param]
    torch.manual_seed(0)
    return cls(cls.config_class(**fields)).eval()


def inputs_of(model):
    inputs = inputs_for(model)
    if getattr(model.config, "add_cross_attention", False):
        torch.manual_seed(1)
        inputs["encoder_hidden_states"] = torch.randn(3, 5, model.config.hidden_size)
    if not hasattr(model, "decoder") and model.config.is_encoder_decoder:
        inputs.pop("decoder_input_ids")
    return inputs


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_works_and_is_saved(part, method, tmp_path):
    inputs = inputs_of(part)
    before = output_of(part, inputs)
    adapters_runtime.init(part)
    assert torch.equal(output_of(part, inputs), before)
    part.add_adapter("a", method, set_active=True)
    randomise_adapter(part, "a")
    after = output_of(part, inputs)
    assert not torch.allclose(after, before)
    part.train_adapter("a")
    part(**inputs)[0].square().sum().backward()
    own = [p for p in bank_of(part).parameters_of("a") if p.requires_grad]
    assert own
    assert all(p.grad is not None for p in own)
    part.save_adapter(tmp_path / "a", "a", use_safetensors=True)
    part.delete_adapter("a")
    assert torch.equal(output_of(part, inputs), before)
    part.load_adapter(tmp_path / "a", set_active=True, use_safetensors=True)
    assert torch.equal(output_of(part, inputs), after)


@pytest.mark.parametrize("method", METHODS)
def test_shapes_expects_what_is_saved(part, method, tmp_path):
    adapters_runtime.init(part)
    part.add_adapter("a", method)
    part.save_adapter(tmp_path / "a", "a", use_safetensors=True)
    saved = load_file(tmp_path / "a" / "adapter.safetensors")
    names = {k: tuple(p.shape) for k, p in part.base_model.named_parameters() if "bank" not in k}
    base = BaseDescription(part.config.model_type, part.config.to_dict(), names)
    expected = expected_tensors("a", load_config(method), base)
    prefix = f"{base.architecture.base_prefix}."
    assert {key.removeprefix(prefix): tuple(t.shape) for key, t in saved.items()} == expected


def test_cross_attention_counts_as_attention(tmp_path):
    """AdapterHub's library has the same places, by the same names."""
    model = transformers.BertModel(transformers.BertConfig(**PARTS["bert decoder"][1]))
    adapters_runtime.init(model)
    model.add_adapter("a", "double_seq_bn[reduction_factor=4]")
    model.add_adapter("p", "prefix_tuning_flat[prefix_length=3]")
    for name in "ap":
        model.save_adapter(tmp_path / name, name, use_safetensors=True)
    keys = load_file(tmp_path / "a" / "adapter.safetensors")
    places = {key.partition(".adapters.")[0].removeprefix("encoder.layer.0.") for key in keys}
    assert {"attention.output", "crossattention.output", "output"} <= places
    prefixes = load_file(tmp_path / "p" / "adapter.safetensors")
    pools = {key.split(".")[3] for key in prefixes}
    assert pools == {"self_prefix", "cross_prefix"}


def test_an_adapter_of_a_decoder_is_none_of_an_encoder(tmp_path):
    decoder = transformers.BertModel(transformers.BertConfig(**PARTS["bert decoder"][1]))
    encoder = transformers.BertModel(transformers.BertConfig(**FIELDS["bert"]))
    for model in (decoder, encoder):
        adapters_runtime.init(model)
    decoder.add_adapter("a", "double_seq_bn[reduction_factor=4]")
    decoder.save_adapter(tmp_path / "a", "a")
    with pytest.raises(BaseMismatch, match="structure"):
        encoder.load_adapter(tmp_path / "a")


def test_both_towers_of_clip_read_one_file_each(tmp_path):
    """A text adapter has the names that it has in the model of both towers."""
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(**FIELDS["clip_text_model"]))
    adapters_runtime.init(text)
    text.add_adapter("a", "seq_bn_inv[reduction_factor=4]")
    text.save_adapter(tmp_path / "a", "a", use_safetensors=True)
    keys = load_file(tmp_path / "a" / "adapter.safetensors")
    assert all(key.startswith("text_model.") for key in keys)


def test_what_a_model_has_not_is_left_out_of_its_specification():
    architecture = get_architecture("t5")
    names = ["shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"]
    alone = fitted(architecture, names)
    assert [stack.path for stack in alone.stacks] == ["encoder.block"]
    assert alone.token_lookups == ("encoder.embed_tokens",)
    assert alone.token_embedding == "shared"
    whole = fitted(architecture, [*names, "decoder.block.0.layer.0.SelfAttention.q.weight"])
    assert whole == architecture


def test_one_matrix_for_towers_of_different_widths_is_refused(adapted):
    shared = "compacter[phm_dim=2,reduction_factor=4,shared_W_phm=True]"
    model = adapted("clip")
    with pytest.raises(ConfigError, match="needs the same sizes in all layers"):
        model.add_adapter("a", shared)
    assert not model.has_adapters()
