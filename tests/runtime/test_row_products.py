"""Batched products over stacked weights give what adapters give row by row, and follow changes."""

import copy
import random

import pytest
import torch

from adapters_runtime import AdapterSetup, Average, BatchSplit, Stack
from adapters_runtime.configs import PeftLoRAConfig
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.inject.bottleneck_point import BottleneckPoint
from adapters_runtime.inject.linear_point import LinearPoint
from adapters_runtime.inject.point import Point
from adapters_runtime.inject.row_products import bottlenecks
from adapters_runtime.inject.stacks import Stacks
from tests.support.running import inputs_for, output_of, randomise_adapter

ALIKE = {
    "lora": ("lora[r=2]", "lora[r=3,alpha=5]", "lora[r=2,attn_matrices=['k','v']]"),
    "vera": ("vera[r=2]", "vera[r=3]", "vera[r=2]"),
    "mtl_lora": ("mtl_lora[r=2]", "mtl_lora[r=3,n_up_projection=2]", "mtl_lora[r=2]"),
    "seq_bn": ("seq_bn[reduction_factor=4]", "seq_bn[reduction_factor=2]", "seq_bn"),
    "par_bn": ("par_bn", "par_bn[scaling=2.0]", "par_bn[scaling='learned']"),
    "compacter": ("compacter[phm_dim=2,reduction_factor=4]",) * 3,
    "ia3": ("ia3", "ia3[attn_matrices=['k']]", "ia3[alpha=2]"),
}
UNLIKE = {
    "gated": ("lora[r=2,use_gating=True]", "lora[r=2]", "lora[r=2]"),
    "dora": ("dora[r=2]", "lora[r=2]", "ia3"),
    "norms": ("seq_bn[ln_before=True]", "seq_bn", "double_seq_bn"),
    "adapter_plus": ("adapter_plus[reduction_factor=4]", "seq_bn", "par_bn"),
}
TYPES = ("bert", "gpt2", "llama", "gpt_neox", "phi3", "modernbert", "t5")
SAMPLED = {("gpt2", "lora"), ("llama", "vera"), ("bert", "seq_bn"), ("t5", "compacter")}
SAMPLED |= {("gpt_neox", "mtl_lora"), ("bert", "par_bn"), ("gpt2", "gated"), ("bert", "norms")}
SAMPLED |= {("gpt2", "ia3"), ("t5", "ia3")}
CASES = [
    pytest.param(*case, id="-".join(case), marks=[] if case in SAMPLED else [pytest.mark.long])
    for case in ((t, m) for t in TYPES for m in (*ALIKE, *UNLIKE))
]


@pytest.fixture
def with_three(adapted):
    def get(model_type, kind):
        model = adapted(model_type)
        for seed, config in enumerate((ALIKE | UNLIKE)[kind]):
            model.add_adapter("abc"[seed], config)
            randomise_adapter(model, "abc"[seed], seed=seed)
        return model

    return get


@pytest.fixture
def products(monkeypatch):
    """Count how often a place answered for all rows at once."""
    found = []
    for kind in (LinearPoint, BottleneckPoint):
        plain = kind.together

        def counting(self, *args, plain=plain):
            answer = plain(self, *args)
            found.append(answer is not None)
            return answer

        monkeypatch.setattr(kind, "together", counting)
    return found


def by_row(model, names):
    return output_of(model, {**inputs_for(model, rows=len(names)), "adapter_names": names})


def alone(model, setup, row, rows):
    inputs = {key: value[row : row + 1] for key, value in inputs_for(model, rows=rows).items()}
    with AdapterSetup(None if setup == "__base__" else setup):
        return output_of(model, inputs)


def some_setup(choose, depth=2):
    kind = choose.choice(("name", "name", Stack, Average)) if depth else "name"
    if kind == "name":
        return choose.choice("abc")
    children = [some_setup(choose, depth - 1) for _ in range(2)]
    if kind is Stack:
        return Stack(*children)
    names = [c if isinstance(c, str) else c.first() for c in children]
    return Average(*names, weights=[choose.random() + 0.1 for _ in names])


@pytest.mark.parametrize(("model_type", "kind"), CASES)
def test_rows_of_any_set_ups_are_as_if_alone(with_three, products, model_type, kind):
    # In float32 a tiny T5, which does not scale its products, makes 3e-5 of rounding.
    model = with_three(model_type, kind).to(torch.float64)
    choose = random.Random(7)
    for _ in range(3):
        setups = ["__base__", "a", *(some_setup(choose) for _ in range(4))]
        choose.shuffle(setups)
        found = by_row(model, setups)
        for row, setup in enumerate(setups):
            expected = alone(model, setup, row, len(setups))
            torch.testing.assert_close(found[row : row + 1], expected, atol=1e-10, rtol=1e-9)
    names = ["c", "a", "__base__", "b", "a"]
    products.clear()
    found = by_row(model, names)
    if kind in ALIKE:
        assert all(products), "each place has one product for all rows"
    for row, name in enumerate(names):
        expected = alone(model, name, row, len(names))
        torch.testing.assert_close(found[row : row + 1], expected, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_an_average_takes_one_product_and_is_that_of_its_members(with_three, model_type, kind):
    model = with_three(model_type, kind)
    model.set_active_adapters(Average("a", "b", "c", weights=[0.5, 0.3, 0.2]))
    found = output_of(model)
    assert any(point.stacks for point in bank_of(model).of_type(Point))
    for name in "abc":  # with gradients every member works by itself
        bank_of(model).freeze(name, frozen=False)
    expected = model(**inputs_for(model))[0]
    assert expected.requires_grad
    torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "seq_bn", "compacter", "ia3"])
def test_a_changed_weight_is_seen_at_once(with_three, kind):
    model = with_three("bert", kind)
    names = ["b", "a", "b"]
    before = by_row(model, names)
    assert torch.equal(by_row(model, names), before)
    with torch.no_grad():
        for parameter in bank_of(model).parameters_of("a"):
            parameter.mul_(1.5)
    after = by_row(model, names)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    torch.testing.assert_close(after[1:2], alone(model, "a", 1, 3), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(after[1], before[1], atol=1e-4)
    other = copy.deepcopy(model)
    other.delete_adapter("a")
    other.add_adapter("a", ALIKE[kind][0])
    randomise_adapter(other, "a", seed=9)
    torch.testing.assert_close(
        by_row(other, names)[1:2], alone(other, "a", 1, 3), atol=1e-5, rtol=1e-4
    )
    assert torch.equal(by_row(model, names), after)


def test_a_weight_written_past_autograd_is_seen_after_training_mode(with_three):
    model = with_three("bert", "lora")
    by_row(model, ["a", "b"])
    for parameter in bank_of(model).parameters_of("a"):
        parameter.data.mul_(2)
    model.train()
    torch.testing.assert_close(
        by_row(model, ["a", "b"])[:1], alone(model, "a", 0, 2), atol=1e-5, rtol=1e-4
    )


@torch.no_grad()
def test_a_model_that_came_back_from_another_type_of_numbers_uses_what_it_holds(with_three):
    model = with_three("bert", "ia3").eval()
    call = {**inputs_for(model, rows=2), "adapter_names": ["a", "b"]}
    for seed in range(20):  # until some weight is where it was before
        randomise_adapter(model, "a", seed=seed)
        model(**call)
        found = model.to(torch.bfloat16).to(torch.float32)(**call)[0]
        assert torch.equal(found, by_row(model, ["a", "b"]))


@pytest.mark.parametrize("kind", ["lora", "seq_bn"])
def test_gradients_are_those_of_each_row_alone(with_three, kind):
    model = with_three("gpt2", kind)
    bank = bank_of(model)
    for name in "ab":
        bank.freeze(name, frozen=False)
    inputs, names = inputs_for(model), ["b", "a", "b"]
    weights = torch.randn(3, inputs["input_ids"].shape[1], model.config.hidden_size)
    (model(**inputs, adapter_names=names)[0] * weights).sum().backward()
    found = {n: [p.grad.clone() for p in bank.parameters_of(n)] for n in "ab"}
    for name in "ab":
        for parameter in bank.parameters_of(name):
            parameter.grad = None
    for row, name in enumerate(names):
        with AdapterSetup(name):
            out = model(**{k: v[row : row + 1] for k, v in inputs.items()})[0]
        (out * weights[row]).sum().backward()
    for name in "ab":
        for grad, parameter in zip(found[name], bank.parameters_of(name), strict=True):
            torch.testing.assert_close(grad, parameter.grad, atol=1e-4, rtol=1e-4)


def test_frozen_adapters_let_gradients_through_to_what_is_before_them(with_three):
    model = with_three("bert", "lora")
    bank = bank_of(model)
    for name in "abc":
        bank.freeze(name, frozen=True)
    inputs = inputs_for(model)
    with torch.inference_mode():
        model.eval()(**inputs, adapter_names=["a", "b", "c"])
    embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    weights = torch.randn(embedded.shape)
    model(inputs_embeds=embedded, adapter_names=["a", "b", "c"])[0].mul(weights).sum().backward()
    for row, name in enumerate("abc"):
        own = embedded[row : row + 1].detach().requires_grad_()
        with AdapterSetup(name):
            model(inputs_embeds=own)[0].mul(weights[row]).sum().backward()
        torch.testing.assert_close(embedded.grad[row : row + 1], own.grad, atol=1e-4, rtol=1e-4)


def test_shares_of_a_batch_take_the_same_way(with_three, products):
    model = with_three("llama", "lora")
    model.set_active_adapters(BatchSplit("a", "c", batch_sizes=[1, 2]))
    found = output_of(model)
    assert products
    assert all(products)
    for row, name in enumerate("acc"):
        expected = alone(model, name, row, 3)
        torch.testing.assert_close(found[row : row + 1], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("model_type", ["bert", "gpt2"])
def test_loras_of_modules_that_are_named_take_the_same_way(adapted, products, model_type):
    model = adapted(model_type)
    wanted = ("query", "dense", "c_attn", "c_fc")
    paths = [path for path, _ in model.named_modules() if path.endswith(wanted)]
    paths = [path for path in paths if "pooler" not in path]  # which sees no tokens
    for rank, name in enumerate("abc", start=1):
        scalings = dict.fromkeys(paths, 0.5 * rank)
        config = PeftLoRAConfig(dict.fromkeys(paths, rank), scalings, lora_bias=name == "c")
        model.add_adapter(name, config)
        randomise_adapter(model, name, seed=rank)
    for names in (["b", "a", "__base__", "b"], ["b", "c", "a", "__base__"]):
        products.clear()
        found = by_row(model, names)
        assert products
        assert all(products) is ("c" not in names)  # whose bias no product adds
        for row, name in enumerate(names):
            expected = alone(model, name, row, len(names))
            torch.testing.assert_close(found[row : row + 1], expected, atol=1e-5, rtol=1e-4)


def test_a_stack_is_built_once_for_as_long_as_its_tensors_stay():
    built = []
    tensors = [torch.ones(2)]

    def build():
        built.append(1)
        return (tensors[0] * 2,)

    stacks = Stacks()
    for _ in range(3):
        assert stacks.get("s", tensors, build)[0].tolist() == [2, 2]
    assert len(built) == 1
    tensors[0].add_(1)
    assert stacks.get("s", tensors, build)[0].tolist() == [4, 4]
    assert stacks.get("s", [tensors[0].clone()], build) is not None
    assert len(built) == 3


@pytest.mark.parametrize("length", [1, 40], ids=["rows moved", "matrices copied"])
@pytest.mark.parametrize("choice", [(0, 1, 2, 1), (2, 2, 0, 2, 2, 0), (1,), (0,) * 5])
def test_each_row_is_multiplied_by_the_matrices_that_it_chooses(choice, length):
    torch.manual_seed(0)
    x = torch.randn(len(choice), length, 6)
    down, down_bias = torch.randn(3, 6, 4), torch.randn(3, 1, 4)
    up, up_bias = torch.randn(3, 4, 6), torch.randn(3, 1, 6)
    found = bottlenecks(x, (down, down_bias, up, up_bias), choice, torch.tanh)
    for row, child in enumerate(choice):
        low = torch.tanh(x[row] @ down[child] + down_bias[child])
        torch.testing.assert_close(found[row], low @ up[child] + up_bias[child])
