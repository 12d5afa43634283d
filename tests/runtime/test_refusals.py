"""What cannot be right is refused with what to do instead, and leaves nothing behind."""

import warnings

import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig

import adapters_runtime
from adapters_runtime.errors import UnreadableWeight, UnsupportedAttention
from adapters_runtime.inject.host import is_packed
from tests.support.methods import METHODS
from tests.support.running import output_of, randomise_adapter

FOREIGN = ("flash_attention_2", "flash_attention_3", "flex_attention", "paged|sdpa")


# --- attention that takes no mask of ours


def choose(model, name):
    """Do what `set_attn_implementation` does where the library of that name is installed."""
    for module in model.modules():
        if isinstance(config := getattr(module, "config", None), PreTrainedConfig):
            config._attn_implementation = name


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("model_type", ["bert", "llama", "gpt2", "t5"])
def test_prefixes_are_refused_where_attention_takes_no_mask(adapted, model_type, name):
    model = adapted(model_type)
    before, own = output_of(model), model.config._attn_implementation
    choose(model, name)
    for method in ("prefix_tuning", "mam", "unipelt"):
        with pytest.raises(UnsupportedAttention, match="set_attn_implementation"):
            model.add_adapter("a", METHODS[method])
    assert not model.has_adapters()
    assert not model.supports_adapter("prefix_tuning")
    model.add_adapter("b", METHODS["lora"])  # needs no mask
    choose(model, own)
    assert torch.equal(output_of(model), before)


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_an_attention_chosen_later_is_refused_when_it_runs(adapted, model_type):
    model = adapted(model_type)
    model.add_adapter("a", METHODS["prefix_tuning"], set_active=True)
    expected = output_of(model)
    choose(model, "flash_attention_2")
    with pytest.raises(UnsupportedAttention, match="'flash_attention_2'"):
        output_of(model)
    model.set_attn_implementation("eager")
    torch.testing.assert_close(output_of(model), expected, atol=1e-5, rtol=1e-5)
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(output_of(model), expected, atol=1e-5, rtol=1e-5)


# --- quantised weights


@pytest.fixture
def quantised(bare_models):
    """Return a function that gives a model whose linear maps are torch's dynamic int8 ones."""

    def get(model_type):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch points to torchao
            model = torch.ao.quantization.quantize_dynamic(
                bare_models(model_type), {nn.Linear}, dtype=torch.qint8
            )
        adapters_runtime.init(model)
        return model

    return get


BESIDE = ("seq_bn", "double_seq_bn_inv", "compacter", "lora", "ia3", "vera", "mtl_lora", "loreft")


@pytest.mark.parametrize("method", BESIDE)
def test_adapters_run_beside_quantised_weights(quantised, adapted, method):
    found = []
    for get in (adapted, quantised):
        model = get("bert")
        torch.manual_seed(1)
        model.add_adapter("a", METHODS[method], set_active=True)
        randomise_adapter(model, "a")
        adapter = output_of(model)
        model.set_active_adapters(None)
        found.append((output_of(model), adapter))
    (plain, exact), (plain8, exact8) = found
    # int8 has its own error, which the adapter may carry on but not make another thing of.
    assert (exact8 - exact).norm() <= 16 * (plain8 - plain).norm()
    assert (exact8 - plain8).norm() > 10 * (plain8 - plain).norm()


@pytest.mark.parametrize("method", ["lora", "ia3", "vera"])
def test_nothing_is_merged_into_quantised_weights(quantised, method):
    model = quantised("bert")
    model.add_adapter("a", METHODS[method], set_active=True)
    randomise_adapter(model, "a")
    expected = output_of(model)
    with pytest.raises(UnreadableWeight, match="load the base model in a floating type"):
        model.merge_adapter("a")
    assert torch.equal(output_of(model), expected)


@pytest.mark.parametrize("method", ["dora", "dvora"])
def test_methods_that_read_the_weight_refuse_a_quantised_one(quantised, method):
    model = quantised("bert")
    before = output_of(model)
    with pytest.raises(UnreadableWeight, match="DoRA"):
        model.add_adapter("a", METHODS[method])
    assert not model.has_adapters()
    assert torch.equal(output_of(model), before)


class Unpacking(torch.Tensor):
    """Says of itself how it is unpacked, as tensors of torchao do."""

    def dequantize(self):
        return self.float()


def packed_weights():
    floating = torch.ones(2, 2)
    return {
        "bitsandbytes 8": floating.to(torch.int8),
        "bitsandbytes 4": floating.to(torch.uint8),
        "fp8": floating.to(torch.float8_e4m3fn),
        "torchao": floating.as_subclass(Unpacking),
        "torch int8": floating.numel,
    }


@pytest.mark.parametrize("kind", packed_weights())
def test_what_is_quantised_is_seen(kind):
    assert is_packed(packed_weights()[kind])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_what_is_not_is_seen_too(dtype):
    assert not is_packed(nn.Parameter(torch.ones(2, 2, dtype=dtype)))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_a_linear_map_with_packed_weights_is_never_merged_into(adapted, dtype):
    """Other libraries' maps are `nn.Linear`s whose weight is no plain tensor of numbers."""
    model = adapted("llama")
    model.add_adapter("a", METHODS["lora"], set_active=True)
    randomise_adapter(model, "a")
    last = model.layers[-1].self_attn.v_proj
    plain = {key: value.clone() for key, value in model.layers[0].state_dict().items()}
    last.weight = nn.Parameter(last.weight.detach().to(dtype), requires_grad=False)
    with pytest.raises(UnreadableWeight, match="a Linear is quantised"):
        model.merge_adapter("a")
    after = model.layers[0].state_dict()
    assert all(torch.equal(after[key], value) for key, value in plain.items())
