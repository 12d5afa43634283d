"""Models of types that nobody has described: adapted if the certificate is closed, or refused."""

import warnings
from dataclasses import replace

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel

import adapters_runtime
from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.derive import Certificate, certify, derive, make_specimen
from adapters_runtime.derive.inputs import example_inputs
from adapters_runtime.derive.shrinking import LIMITS, shrink
from adapters_runtime.errors import UnsupportedArchitecture
from adapters_runtime.inject.bank import bank_of
from tests.support import tiny_models
from tests.support.running import inputs_for, output_of, randomise_adapter

TEXT, GROUPED = tiny_models._TEXT, tiny_models._GROUPED
PAIR, IMAGE = tiny_models._ENCODER_DECODER, tiny_models._IMAGE
UNSEEN = {
    "biogpt": TEXT,
    "cohere": GROUPED,
    "dinov2": IMAGE,
    "ernie": TEXT,
    "gemma": GROUPED,
    "glm4": {**GROUPED, "partial_rotary_factor": 1.0},
    "gpt_bigcode": tiny_models._GPT,
    "granite": GROUPED,
    "m2m_100": PAIR,
    "marian": PAIR,
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "pegasus": PAIR,
    "siglip_vision_model": IMAGE,
    "smollm3": GROUPED,
    "stablelm": {**GROUPED, "hidden_size": 32, "head_dim": 8},
    "starcoder2": GROUPED,
}
REFUSED = {"mamba": {}, "mixtral": GROUPED, "opt": {**TEXT, "ffn_dim": 24}}
METHODS = (
    "seq_bn[reduction_factor=4]",
    "double_seq_bn[reduction_factor=4]",
    "par_bn[reduction_factor=4]",
    "lora[r=2,attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]",
    "ia3",
    "prefix_tuning[prefix_length=3,bottleneck_size=5]",
    "loreft[r=2,suffix_positions=2]",
)


def bare(model_type, **fields):
    config = AutoConfig.for_model(model_type, **{**({**UNSEEN, **REFUSED}[model_type]), **fields})
    torch.manual_seed(0)
    return AutoModel.from_config(config).eval()


SAMPLED = ("cohere", "dinov2", "ernie", "glm4", "gpt_bigcode", "marian", "olmo2", "stablelm")


@pytest.fixture(
    params=[pytest.param(t, marks=() if t in SAMPLED else pytest.mark.long) for t in UNSEEN]
)
def unseen(request):
    return bare(request.param)


def inputs_of(model):
    torch.manual_seed(1)
    inputs = example_inputs(model, model.config)
    return {
        k: v.float() if torch.is_tensor(v) and v.is_floating_point() else v
        for k, v in inputs.items()
    }


def test_an_unseen_type_gets_adapters_with_a_warning(unseen):
    inputs = inputs_of(unseen)
    before, weights = output_of(unseen, inputs), dict(unseen.state_dict())
    dice = torch.get_rng_state()
    with pytest.warns(UserWarning, match=rf"{unseen.config.model_type}.*mh_adapter at .*commit it"):
        adapters_runtime.init(unseen)
    assert torch.equal(torch.get_rng_state(), dice)
    assert torch.equal(output_of(unseen, inputs), before)
    for method in METHODS:
        unseen.add_adapter("a", method, set_active=True)
        randomise_adapter(unseen, "a")
        assert not torch.allclose(output_of(unseen, inputs), before), method
        unseen.train_adapter("a")
        # All of a sequence counts: a prefix's last layer is seen by no single token alone.
        unseen(**inputs)[0].square().sum().backward()
        idle = [p for p in bank_of(unseen).parameters_of("a") if p.grad is None or not p.grad.any()]
        assert not idle, method
        unseen.eval().set_active_adapters(None)
        assert torch.equal(output_of(unseen, inputs), before)
        unseen.delete_adapter("a")
    after = unseen.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("model_type", REFUSED)
def test_a_type_that_is_not_understood_is_refused_with_reasons(model_type):
    model = bare(model_type)
    with pytest.raises(UnsupportedArchitecture, match=r"derived.*adding_an_architecture") as caught:
        adapters_runtime.init(model)
    assert caught.value.missed
    assert not hasattr(model, "adapter_bank")


def test_the_model_is_never_run_itself(monkeypatch):
    model = bare("olmo2", num_hidden_layers=5)

    def run(*args, **kwargs):
        raise AssertionError("the model itself was run")

    monkeypatch.setattr(model, "forward", run)
    with pytest.warns(UserWarning, match="olmo2"):
        adapters_runtime.init(model)
    assert {point.layer for point in bank_of(model).points} >= set(range(5))


def test_a_model_of_an_unseen_type_has_flexible_heads():
    config = AutoConfig.for_model("olmo2", **GROUPED)
    with pytest.warns(UserWarning, match="olmo2"):
        model = adapters_runtime.AutoAdapterModel.from_config(config)
    model.add_adapter("a", "seq_bn[reduction_factor=4]")
    model.add_classification_head("a", num_labels=3)
    model.train_adapter("a")
    inputs = inputs_for(model)
    loss = model(**inputs, labels=torch.tensor([0, 1, 2])).loss
    loss.backward()
    assert all(p.grad is not None for p in bank_of(model).parameters_of("a"))


def test_a_described_type_is_never_derived(bare_models):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapters_runtime.init(bare_models("llama"))


@pytest.fixture(scope="module")
def llama():
    config = AutoConfig.for_model("llama", **GROUPED)
    return make_specimen(transformers.LlamaModel, config)


def certificate_of(specimen, **changes) -> Certificate:
    stack = ARCHITECTURES["llama"].stacks[0]
    wrong = replace(ARCHITECTURES["llama"], stacks=(replace(stack, **changes),))
    return certify(wrong, specimen.trace, specimen.probe)


def test_a_wrong_place_opens_the_certificate(llama):
    """Each mistake that a specification can hold is found, in every layer."""
    stack = ARCHITECTURES["llama"].stacks[0]
    attention, (first, second) = stack.attentions[0], stack.sites
    mistakes = [
        ({"sites": (replace(first, residual=("in:self_attn",)), second)}, "is not the input"),
        ({"sites": (replace(first, out="self_attn.q_proj"), second)}, "is not what mh_adapter"),
        ({"sites": (first, replace(second, out="mlp.up_proj"))}, "its stream is"),
        ({"sites": (first, replace(second, norm="post_attention_layernorm"))}, "something else"),
        ({"sites": (first, replace(second, sandwich=True, norm="input_layernorm"))}, "else"),
        ({"sites": (first,)}, "gives something else"),
        ({"sites": (replace(first, residual=("in:mlp",)), second)}, "0 times"),
        ({"attentions": (replace(attention, query="k_proj", key="q_proj"),)}, "makes k and not q"),
        ({"attentions": (replace(attention, path="mlp"),)}, "does not call"),
        ({"ffn_in": ("mlp.down_proj",)}, "does not read the stream"),
        ({"ffn_out": "mlp.up_proj"}, "does not give the stream's width"),
    ]
    assert certificate_of(llama).closed
    for changes, words in mistakes:
        certificate = certificate_of(llama, **changes)
        assert len([gap for gap in certificate.gaps if words in gap]) >= 1, (changes, certificate)


def test_a_shrunk_configuration_keeps_how_the_model_is_built():
    config = AutoConfig.for_model(
        "llama",
        hidden_size=4096,
        num_attention_heads=32,
        num_key_value_heads=8,
        attention_bias=True,
    )
    small = shrink(config)
    assert (small.hidden_size, small.num_attention_heads, small.num_key_value_heads) == (32, 4, 2)
    assert small.num_hidden_layers == 2
    assert small.attention_bias
    assert shrink(small).to_dict() == small.to_dict()
    assert config.hidden_size == 4096
    assert all(limit > 0 for limit in LIMITS.values())


@pytest.mark.parametrize("parallel", [False, True])
def test_flags_of_a_configuration_count(parallel):
    config = AutoConfig.for_model("stablelm", **UNSEEN["stablelm"], use_parallel_residual=parallel)
    found = derive(transformers.StableLmModel, config)
    assert found.certificate.closed
    residual = found.architecture.stacks[0].sites[1].residual
    assert (len(residual) == 2) == parallel
