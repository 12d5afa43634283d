"""Compiled models give what plain ones do, and are not compiled again without need."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from adapters_runtime import BatchSplit, Fuse, Parallel, Stack
from adapters_runtime.inject.bank import bank_of
from tests.support.methods import METHODS
from tests.support.running import inputs_for, randomise_adapter

MODELS = ("bert", "gpt2", "llama", "t5")
SAMPLED = {
    ("bert", "double_seq_bn_inv", "aot_eager"),
    ("gpt2", "lora", "eager"),
    ("llama", "mam", "eager"),
    ("t5", "prefix_tuning", "eager"),
    ("bert", "loreft", "eager"),
}
CASES = [
    pytest.param(*case, id="-".join(case), marks=[] if case in SAMPLED else [pytest.mark.long])
    for case in (
        (model_type, method, backend)
        for model_type in MODELS
        for method in METHODS
        for backend in ("eager", "aot_eager")
    )
]


@pytest.fixture(autouse=True)
def nothing_compiled_yet():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def with_adapters(model, method, names="ab"):
    for seed, name in enumerate(names):
        model.add_adapter(name, METHODS[method])
        randomise_adapter(model, name, seed=seed)
    return model


@torch.no_grad()
def run(model, inputs, **options):
    return (
        model(**inputs, use_cache=False, **options)[0]
        if "decoder_input_ids" in inputs
        else (model(**inputs, **options)[0])
    )


@pytest.mark.parametrize(("model_type", "method", "backend"), CASES)
def test_a_compiled_model_gives_what_a_plain_one_does(adapted, model_type, method, backend):
    model = with_adapters(adapted(model_type), method, "a")
    model.set_active_adapters("a")
    inputs = inputs_for(model)
    expected = run(model, inputs)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    torch.testing.assert_close(run(compiled, inputs), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("method", "setup"),
    [
        ("seq_bn", Stack("a", "b")),
        ("lora", Stack("a", "b")),
        ("seq_bn", Fuse("a", "b")),
        ("lora", BatchSplit("a", "b", batch_sizes=[1, 2])),
        ("prefix_tuning_flat", Parallel("a", "b")),
    ],
    ids=str,
)
def test_a_compiled_composition_gives_what_a_plain_one_does(adapted, method, setup):
    model = with_adapters(adapted("bert"), method)
    if isinstance(setup, Fuse):
        model.add_adapter_fusion(setup)
    model.set_active_adapters(setup)
    inputs = inputs_for(model)
    expected = run(model, inputs)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(run(compiled, inputs), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", ["seq_bn", "lora"])
def test_compiled_rows_with_adapters_of_their_own_are_those_of_a_plain_pass(adapted, method):
    model = with_adapters(adapted("bert"), method)
    inputs = inputs_for(model)
    names = ["b", "__base__", "a"][: len(next(iter(inputs.values())))]
    expected = run(model, {**inputs, "adapter_names": names})
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    actual = run(compiled, {**inputs, "adapter_names": names})
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


def test_going_back_to_a_set_up_compiles_nothing(adapted):
    model = with_adapters(adapted("bert"), "seq_bn")
    counter, inputs = CompileCounter(), inputs_for(model)
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    setups = ("a", "b", Stack("a", "b"), None)
    outputs = []
    for setup in setups:
        model.set_active_adapters(setup)
        outputs.append(run(compiled, inputs))
    assert counter.frame_count == len(setups)
    for setup, expected in zip(setups, outputs, strict=True):
        model.set_active_adapters(setup)
        assert torch.equal(run(compiled, inputs), expected)
    assert counter.frame_count == len(setups)


def test_new_weights_in_the_old_place_compile_nothing(adapted, tmp_path):
    model = with_adapters(adapted("bert"), "lora")
    model.save_adapter(tmp_path, "b")
    model.delete_adapter("b")
    counter, inputs = CompileCounter(), inputs_for(model)
    model.set_active_adapters("a")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    before = run(compiled, inputs)
    with torch.no_grad():
        for parameter in bank_of(model).parameters_of("a"):
            parameter.add_(0.1)
    changed = run(compiled, inputs)
    assert not torch.equal(changed, before)
    assert torch.equal(changed, run(model, inputs))
    assert counter.frame_count == 1
    model.load_adapter(tmp_path, load_as="a", set_active=True)
    swapped = run(compiled, inputs)
    assert torch.equal(swapped, run(model, inputs))
    assert not torch.equal(swapped, changed)
    assert counter.frame_count == 1
