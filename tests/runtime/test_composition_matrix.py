"""Every block with every method on every kind of attention, against what each adapter does alone.

Blocks that share out rows or tokens are held to runs of one adapter over those rows or tokens.
Blocks that add up or average are held to one plain model, or one adapter, with their weights in it.
"""

import pytest
import torch

from adapters_runtime import (
    AdapterSetup,
    Average,
    BatchSplit,
    Fuse,
    MultiTask,
    Parallel,
    Split,
    Stack,
)
from adapters_runtime.configs import SeqBnInvConfig, load_config
from adapters_runtime.errors import ConfigError, InvalidComposition, UnsupportedComposition
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from tests.support.generating import CACHE
from tests.support.running import add_adapters, inputs_for, output_of

METHODS = {
    "bottleneck": "seq_bn[reduction_factor=4]",
    "parallel_bottleneck": "par_bn[reduction_factor=4]",
    "compacter": "compacter[phm_dim=2,reduction_factor=4]",
    "prefix": "prefix_tuning[prefix_length=3,flat=True]",
    "lora": "lora[r=2,alpha=3,attn_matrices=['q','v'],intermediate_lora=True]",
    "ia3": "ia3",
    "dora": "dora[r=2,alpha=3]",
    "vera": "vera[r=2]",
    "mtl_lora": "mtl_lora[r=2]",
    "reft": "loreft[r=2]",
    "prompt": "prompt_tuning[prompt_length=3]",
    "union": "lora[r=2]|seq_bn[reduction_factor=4]",
    "unipelt": "unipelt",
    "nice": "seq_bn_inv[reduction_factor=4]",
    "glow": SeqBnInvConfig(reduction_factor=4, inv_adapter="glow"),
}
TYPES = ("bert", "gpt2", "llama", "phi3", "gpt_neox", "modernbert", "t5", "bart")
CAUSAL = ("gpt2", "llama", "phi3", "gpt_neox")
ENCODER_DECODER = ("t5", "bart")

WITHOUT_SPLIT = {"prefix": "prefix tuning", "reft": "ReFT", "prompt": "prompt tuning"}
WITHOUT_SPLIT |= {"unipelt": "(prefix tuning|LoRA)"}
WITHOUT_FUSE = WITHOUT_SPLIT | dict.fromkeys(("lora", "ia3", "dora", "vera", "mtl_lora"), "LoRA")
WITHOUT_FUSE |= {"union": "LoRA", "unipelt": "(prefix tuning|LoRA)"}
FOLDABLE = ("lora", "ia3", "vera", "mtl_lora")
"""What stands in one weight matrix, whatever it stands on."""


def cases(methods=tuple(METHODS), types=TYPES, every=5):
    """Return (method, type) parameters; all but each `every`th are for `make test-all`."""
    pairs = [(m, t) for m in methods for t in types]
    return pytest.mark.parametrize(
        ("method", "model_type"),
        [
            pytest.param(*pair, id="-".join(pair), marks=[pytest.mark.long] if i % every else [])
            for i, pair in enumerate(pairs)
        ],
    )


@pytest.fixture
def with_adapters(adapted):
    """Return a function that gives a tiny model with adapters `a`, `b` and `c` of a method."""

    def get(model_type, method):
        model = adapted(model_type)
        add_adapters(model, dict.fromkeys("abc", METHODS[method]))
        return model

    return get


def rows_of(model, start, stop):
    return {key: value[start:stop] for key, value in inputs_for(model).items()}


def run(model, setup, inputs=None):
    with AdapterSetup(setup):
        return output_of(model, inputs)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


# --- rows


@cases()
def test_blocks_over_rows_give_each_row_its_adapter_alone(with_adapters, method, model_type):
    model = with_adapters(model_type, method)
    alone = {name: run(model, name) for name in "abc"}
    close(run(model, Parallel("a", "b")), torch.cat([alone["a"], alone["b"]]))
    expected = torch.cat([alone["b"][:1], alone["a"][1:]])
    close(run(model, BatchSplit("b", "a", batch_sizes=[1, 2])), expected)
    by_task = inputs_for(model) | {"task_ids": torch.tensor([2, 0, 1])}
    expected = torch.cat([alone["c"][:1], alone["a"][1:2], alone["b"][2:]])
    close(run(model, MultiTask("a", "b", "c"), by_task), expected)


@cases([m for m in METHODS if m != "prompt"], every=9)  # texts with prompts differ in length
def test_blocks_in_blocks_give_each_row_its_set_up_alone(with_adapters, method, model_type):
    model = with_adapters(model_type, method)
    stacked, mixed = run(model, Stack("a", "b")), run(model, Average("a", "c", weights=[1, 3]))
    nested = Parallel(Stack("a", "b"), Average("a", "c", weights=[1, 3]))
    close(run(model, nested), torch.cat([stacked, mixed]))
    nested = BatchSplit(Average("a", "c", weights=[1, 3]), Stack("a", "b"), batch_sizes=[2, 1])
    close(run(model, nested), torch.cat([mixed[:2], stacked[2:]]))
    by_task = inputs_for(model) | {"task_ids": [1, 0, 1]}
    found = run(model, MultiTask(Stack("a", "b"), Average("a", "c", weights=[1, 3])), by_task)
    close(found, torch.cat([mixed[:1], stacked[1:2], mixed[2:]]))


@pytest.mark.parametrize("method", METHODS)
def test_tasks_without_task_ids_are_refused(with_adapters, method):
    with pytest.raises(InvalidComposition, match="task_ids"):
        run(with_adapters("bert", method), MultiTask("a", "b"))


# --- tokens


@cases([m for m in METHODS if m not in WITHOUT_SPLIT], CAUSAL)
def test_a_split_text_is_as_if_one_adapter_went_on_where_another_stopped(
    with_adapters, method, model_type
):
    model = with_adapters(model_type, method)
    inputs = inputs_for(model)
    found = run(model, Split("b", "a", splits=[3, 4]))
    with torch.no_grad():
        with AdapterSetup("b"):
            first = model(input_ids=inputs["input_ids"][:, :3], use_cache=True)
        with AdapterSetup("a"):
            given = {CACHE: first.past_key_values}
            second = model(input_ids=inputs["input_ids"][:, 3:], use_cache=True, **given)
    close(found, torch.cat([first[0], second[0]], 1))


@cases([m for m in METHODS if m not in WITHOUT_SPLIT])
def test_halves_of_one_adapter_are_that_adapter(with_adapters, method, model_type):
    model = with_adapters(model_type, method)
    inputs = inputs_for(model)
    if model_type in ENCODER_DECODER:
        inputs["decoder_input_ids"] = inputs["input_ids"]
    close(run(model, Split("a", "a", splits=[3, 4]), inputs), run(model, "a", inputs))


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5"])
@pytest.mark.parametrize("method", WITHOUT_SPLIT)
def test_what_has_no_tokens_of_its_own_cannot_be_split(with_adapters, method, model_type):
    model = with_adapters(model_type, method)
    with pytest.raises(UnsupportedComposition, match=f"{WITHOUT_SPLIT[method]} cannot be put in"):
        run(model, Split("a", "b", splits=[3, 4]))


# --- sums and means


def weights_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def folded(model, name):
    """Return the model's weights with an adapter in them."""
    model.merge_adapter(name)
    weights = weights_of(model)
    model.reset_adapter()
    return weights


def with_weights(bare_models, model_type, weights):
    plain = bare_models(model_type)
    own = {key: weights[key] for key in plain.state_dict()}
    plain.load_state_dict(own)
    return output_of(plain)


@cases(FOLDABLE, every=3)
def test_stacks_and_averages_stand_in_one_weight_matrix(
    with_adapters, bare_models, method, model_type
):
    model = with_adapters(model_type, method)
    base, a, b = weights_of(model), folded(model, "a"), folded(model, "b")

    def combined(rule):
        mixed = {key: rule(base[key], a[key], b[key]) for key in base}
        return with_weights(bare_models, model_type, mixed)

    if method == "ia3":  # factors of features multiply
        stacked = combined(lambda w, x, y: torch.where(w == 0, x + y, x * y / w))
    else:
        stacked = combined(lambda w, x, y: x + y - w)
    close(run(model, Stack("a", "b")), stacked)
    averaged = combined(lambda w, x, y: 0.25 * x + 0.75 * y)
    close(run(model, Average("a", "b", weights=[1, 3])), averaged)


@cases(["dora"], every=3)
def test_the_average_of_doras_stands_in_one_weight_matrix(
    with_adapters, bare_models, method, model_type
):
    model = with_adapters(model_type, method)
    a, b = folded(model, "a"), folded(model, "b")
    mixed = {key: 0.25 * a[key] + 0.75 * b[key] for key in a}
    expected = with_weights(bare_models, model_type, mixed)
    close(run(model, Average("a", "b", weights=[1, 3])), expected)


@cases(["bottleneck", "parallel_bottleneck", "compacter"], every=3)
def test_the_average_of_bottlenecks_is_one_as_wide_as_both(with_adapters, method, model_type):
    model = with_adapters(model_type, method)
    expected = run(model, Average("a", "b", weights=[1, 3]))
    plain = {"phm_layer": False, "scaling": 1.0}
    model.add_adapter("both", load_config(METHODS[method]).replace(reduction_factor=2, **plain))
    for point in bank_of(model).of_type(BottleneckPoint):
        if point.holds("both"):
            fill(*(point.adapters[name] for name in ("both", "a", "b")))
    close(run(model, "both"), expected)


@torch.no_grad()
def fill(both, a, b):
    downs, down_biases, ups, up_biases = zip(a.matrices(), b.matrices(), strict=True)
    down, up = torch.cat(downs, 1).t(), torch.cat([0.25 * ups[0], 0.75 * ups[1]]).t()
    both.adapter_down[0].weight.copy_(down)
    both.adapter_down[0].bias.copy_(torch.cat(down_biases, -1).flatten())
    both.adapter_up.weight.copy_(up)
    both.adapter_up.bias.copy_((0.25 * up_biases[0] + 0.75 * up_biases[1]).flatten())


@cases(["prefix", "prompt"], every=3)
def test_the_average_of_prefixes_and_of_prompts_is_that_of_their_tensors(
    with_adapters, method, model_type
):
    model = with_adapters(model_type, method)
    expected = run(model, Average("a", "b", weights=[1, 3]))
    bank = bank_of(model)
    with torch.no_grad():
        parts = zip(*(bank.parameters_of(name) for name in "cab"), strict=True)
        for mixed, a, b in parts:
            mixed.copy_(0.25 * a + 0.75 * b)
    close(run(model, "c"), expected)


@pytest.mark.parametrize("config", ["loreft[r=2]", "noreft[r=2]", "direft[r=2]"])
def test_the_average_of_edits_of_the_last_layer_is_that_of_the_outputs(adapted, config):
    model = adapted("bert")  # nothing follows its last layer
    add_adapters(model, dict.fromkeys("ab", load_config(config).replace(layers=[1])))
    expected = 0.25 * run(model, "a") + 0.75 * run(model, "b")
    close(run(model, Average("a", "b", weights=[1, 3])), expected)


# --- fusion


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5"])
@pytest.mark.parametrize("method", WITHOUT_FUSE)
def test_what_is_no_bottleneck_cannot_be_fused(with_adapters, method, model_type):
    model = with_adapters(model_type, method)
    if method in ("union", "unipelt"):  # which have bottlenecks among their parts
        model.add_adapter_fusion(["a", "b"])
    else:
        with pytest.raises(ConfigError, match="where all its members have a bottleneck"):
            model.add_adapter_fusion(["a", "b"])
    with pytest.raises(UnsupportedComposition, match=f"{WITHOUT_FUSE[method]} cannot be put in"):
        run(model, Fuse("a", "b"))


@cases([m for m in METHODS if m not in WITHOUT_FUSE], every=7)
def test_rows_of_a_fusion_are_as_if_alone(with_adapters, method, model_type):
    model = with_adapters(model_type, method)
    model.add_adapter_fusion(["a", "b"])
    fused, single = run(model, Fuse("a", "b")), run(model, "c")
    assert not torch.allclose(fused, run(model, "a"), atol=1e-4)
    by_task = inputs_for(model) | {"task_ids": [1, 0, 1]}
    found = run(model, MultiTask("c", Fuse("a", "b")), by_task)
    close(found, torch.cat([fused[:1], single[1:2], fused[2:]]))
