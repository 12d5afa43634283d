"""Models of types that nobody has described: adapted if the certificate is closed, or refused."""

import copy
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
from adapters_runtime.errors import UnsupportedArchitecture, UnsupportedSite
from adapters_runtime.inject.bank import bank_of
from tests.support import tiny_models
from tests.support.running import add_adapters, inputs_for, output_of, randomise_adapter

TEXT, GROUPED = tiny_models._TEXT, tiny_models._GROUPED
PAIR, IMAGE = tiny_models._ENCODER_DECODER, tiny_models._IMAGE
UNSEEN = {
    "biogpt": TEXT,
    "bloom": {**TEXT, "n_head": 4, "n_layer": 2},
    "cohere": GROUPED,
    "diffllama": GROUPED,
    "dinov2": IMAGE,
    "ernie": TEXT,
    "falcon": {**TEXT, "multi_query": False, "new_decoder_architecture": True, "num_kv_heads": 2},
    "gemma": GROUPED,
    "glm4": {**GROUPED, "partial_rotary_factor": 1.0},
    "gpt_bigcode": tiny_models._GPT,
    "gpt_neo": {**TEXT, "num_heads": 4, "num_layers": 2, "attention_types": [[["global"], 2]]},
    "granite": GROUPED,
    "m2m_100": PAIR,
    "marian": PAIR,
    "megatron-bert": TEXT,
    "mixtral": {**GROUPED, "num_local_experts": 3},
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "opt": {**TEXT, "ffn_dim": 24, "word_embed_proj_dim": 16},
    "pegasus": PAIR,
    "rembert": {**TEXT, "input_embedding_size": 16},
    "siglip_vision_model": IMAGE,
    "smollm3": GROUPED,
    "stablelm": {**GROUPED, "hidden_size": 32, "head_dim": 8},
    "starcoder2": GROUPED,
}
REFUSED = {
    "longformer": {**TEXT, "attention_window": 4},
    "mamba": {},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 4, "d_inner": 24, "vocab_size": 32},
}
NEARLY = {"atol": 1e-5, "rtol": 1e-5}
METHODS = (
    "seq_bn[reduction_factor=4]",
    "double_seq_bn[reduction_factor=4]",
    "par_bn[reduction_factor=4]",
    "lora[r=2,attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]",
    "lora[r=2]",
    "ia3",
    "prefix_tuning[prefix_length=3,bottleneck_size=5]",
    "loreft[r=2,suffix_positions=2]",
)


WITHOUT = {
    "diffllama": ("prefix_tuning", METHODS[-2:-1]),  # attends twice, and takes the difference
    "mixtral": ("intermediate_lora", (METHODS[3], "ia3")),  # each token has experts of its own
}
"""Type -> what it has no place for, and the methods that ask for it."""
KERNELS = {
    "falcon": {"attn_implementation": "eager"},  # the other leaves prefixes no way in
    "mixtral": {"experts_implementation": "eager"},  # the other knows no float64
}
SAMPLED = (
    "bloom", "cohere", "diffllama", "dinov2", "ernie", "falcon", "glm4", "gpt_bigcode",
    "gpt_neo", "marian", "mixtral", "olmo2", "opt", "rembert", "stablelm",
)  # fmt: skip


def bare(model_type, **fields):
    config = AutoConfig.for_model(model_type, **{**({**UNSEEN, **REFUSED}[model_type]), **fields})
    torch.manual_seed(0)
    return AutoModel.from_config(config, **KERNELS.get(model_type, {})).eval()


@pytest.fixture(
    params=[pytest.param(t, marks=() if t in SAMPLED else pytest.mark.long) for t in UNSEEN]
)
def unseen(request):
    return bare(request.param)


def inputs_of(model):
    """Return inputs whose numbers are of the model's type."""
    torch.manual_seed(1)
    return {
        name: value.to(model.dtype)
        if torch.is_tensor(value) and value.is_floating_point()
        else value
        for name, value in example_inputs(model, model.config).items()
    }


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_an_unseen_type_gets_adapters_with_a_warning(unseen):
    inputs = inputs_of(unseen)
    before, weights = output_of(unseen, inputs), dict(unseen.state_dict())
    dice = torch.get_rng_state()
    with pytest.warns(UserWarning, match=rf"{unseen.config.model_type}.*mh_adapter at .*commit it"):
        adapters_runtime.init(unseen)
    assert torch.equal(torch.get_rng_state(), dice)
    assert torch.equal(output_of(unseen, inputs), before)
    missing, refused = WITHOUT.get(unseen.config.model_type, (None, ()))
    for method in refused:
        with pytest.raises(UnsupportedSite, match=missing):
            unseen.add_adapter("a", method)
    for method in (method for method in METHODS if method not in refused):
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
    assert equal_states(unseen.state_dict(), weights)


@pytest.mark.filterwarnings("ignore:there is no specification")
@pytest.mark.parametrize("method", [METHODS[3], "lora[r=2]", "ia3"])
def test_an_adapter_of_an_unseen_type_is_merged_and_taken_back(unseen, method):
    if method in WITHOUT.get(unseen.config.model_type, ((), ()))[1]:
        return
    inputs = inputs_of(unseen.double())
    adapters_runtime.init(unseen)
    unseen.add_adapter("a", method, set_active=True)
    randomise_adapter(unseen, "a")
    expected, weights = output_of(unseen, inputs), copy.deepcopy(unseen.state_dict())
    unseen.merge_adapter("a")
    torch.testing.assert_close(output_of(unseen, inputs), expected, **NEARLY)
    unseen.reset_adapter()
    assert equal_states(unseen.state_dict(), weights)
    assert torch.equal(output_of(unseen, inputs), expected)


@pytest.mark.filterwarnings("ignore:there is no specification")
@pytest.mark.parametrize("method", ["seq_bn_inv[reduction_factor=4]", "par_bn", "lora[r=2]"])
def test_each_row_of_an_unseen_type_may_have_an_adapter_of_its_own(unseen, method):
    inputs = inputs_of(unseen)
    adapters_runtime.init(unseen)
    add_adapters(unseen, dict.fromkeys("ab", method))
    together = unseen(**inputs, adapter_names=["b", "a", None])[0]
    for row, name in enumerate(["b", "a", None]):
        unseen.set_active_adapters(name)
        torch.testing.assert_close(together[row], output_of(unseen, inputs)[row], **NEARLY)


def test_a_base_within_a_base_is_the_one_adapted():
    """DPR's encoder is a head around a BERT, and its question encoder is one around that."""
    torch.manual_seed(0)
    model = transformers.DPRQuestionEncoder(transformers.DPRConfig(**TEXT)).eval()
    before = output_of(model)
    with pytest.warns(UserWarning, match="dpr"):
        adapters_runtime.init(model)
    add_adapters(model, {"a": "double_seq_bn[reduction_factor=4]"})
    assert torch.equal(output_of(model), before)
    model.set_active_adapters("a")
    assert not torch.allclose(output_of(model), before)
    assert bank_of(model) is model.question_encoder.bert_model.adapter_bank


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
