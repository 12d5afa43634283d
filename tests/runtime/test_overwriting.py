"""Without gradients an adapter may write over what its map put out; nobody else may notice."""

import pytest
import torch
from torch.func import functional_call, vmap

from adapters_runtime import AdapterSetup, Average, BatchSplit, Parallel, Split, Stack
from tests.support.running import add_adapters, inputs_for, output_of, randomise_adapter

METHODS = {
    "lora": "lora[r=2,attn_matrices=['q','k','v'],intermediate_lora=True]",
    "ia3": "ia3",
    "gated": "lora[r=2,use_gating=True]",
    "dora": "dora[r=2]",
}
SETUPS = [
    "a",
    Stack("a", "b"),
    Parallel("a", "b"),
    Parallel(Stack("a", "b"), "a"),
    Average("a", "b", weights=[0.3, 0.7]),
    Stack(Average("a", "b"), "a"),
    BatchSplit("a", Stack("b", "a"), batch_sizes=[1, 2]),
    Split("a", "b", splits=[3, 4]),
]


@pytest.fixture
def with_two(adapted):
    def get(model_type, method):
        model = adapted(model_type)
        add_adapters(model, dict.fromkeys("ab", METHODS[method]))
        return model.eval()

    return get


def with_gradients(model, inputs):
    with torch.enable_grad():
        return model(**inputs)[0].detach()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "gpt_neox"])
def test_a_pass_without_gradients_gives_what_one_with_them_does(with_two, model_type, method):
    model = with_two(model_type, method)
    inputs = inputs_for(model, rows=3)
    for setup in SETUPS:
        with AdapterSetup(setup):
            wanted = with_gradients(model, inputs)
            torch.testing.assert_close(output_of(model, inputs), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_rows_in_any_order_are_those_with_gradients(with_two, method):
    model = with_two("bert", method)
    inputs = {**inputs_for(model, rows=4), "adapter_names": ["b", "__base__", "a", "b"]}
    wanted = with_gradients(model, inputs)
    torch.testing.assert_close(output_of(model, inputs), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_a_hook_that_was_there_before_keeps_what_it_saw(adapted, method):
    model, seen = adapted("bert"), []
    linear = model.base_model.encoder.layer[0].attention.self.value
    handle = linear.register_forward_hook(lambda module, args, output: seen.append(output))
    model.add_adapter("a", METHODS[method])
    randomise_adapter(model, "a")
    inputs = inputs_for(model)
    output_of(model, inputs)
    with AdapterSetup("a"):
        output_of(model, inputs)
    handle.remove()
    assert torch.equal(*seen)


@pytest.mark.parametrize("method", ["lora", "ia3"])
@torch.no_grad()
def test_many_adapters_of_one_shape_can_be_mapped_over(with_two, method):
    model = with_two("bert", method)
    model.set_attn_implementation("eager")  # vmap has no rule for the fused one
    model.set_active_adapters("a")
    inputs = inputs_for(model)
    own = {name: p for name, p in model.named_parameters() if ".:a." in name}
    many = {name: torch.stack([p, 2 * p]) for name, p in own.items()}
    found = vmap(lambda given: functional_call(model, given, kwargs=inputs)[0])(many)
    for number in range(2):
        given = {name: stack[number] for name, stack in many.items()}
        wanted = functional_call(model, given, kwargs=inputs)[0]
        torch.testing.assert_close(found[number], wanted, rtol=1e-5, atol=1e-6)
