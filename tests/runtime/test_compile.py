"""Compiled models give what plain ones do, and are not compiled again without need."""

import threading
from itertools import product

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounter

from adapters_runtime import AdapterSetup, BatchSplit, Fuse, Parallel, Stack
from adapters_runtime.inject.bank import bank_of
from tests.support.methods import METHODS
from tests.support.running import add_adapters, inputs_for

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
    for case in product(MODELS, METHODS, ("eager", "aot_eager"))
]


@pytest.fixture(autouse=True)
def nothing_compiled_yet():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def with_adapters(model, method, names="ab"):
    add_adapters(model, dict.fromkeys(names, METHODS[method]))
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


# What inductor itself imports and calls.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch._prims_common.check. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "method",
    ["lora", "ia3", "double_seq_bn_inv", "compacter", "prefix_tuning", "loreft", "unipelt"],
)
@pytest.mark.parametrize("model_type", MODELS)
@pytest.mark.long
def test_inductor_gives_what_a_plain_model_does(adapted, model_type, method):
    model = with_adapters(adapted(model_type), method, "a")
    model.set_active_adapters("a")
    inputs = inputs_for(model)
    expected = run(model, inputs)
    compiled = torch.compile(model, fullgraph=True)
    # It writes kernels of its own, which add in another order.
    torch.testing.assert_close(run(compiled, inputs), expected, atol=1e-5, rtol=1e-5)


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


long = pytest.mark.long


@pytest.mark.parametrize(
    ("setup", "backend"),
    [
        pytest.param(BatchSplit("a", "b", batch_sizes=[1, 2]), "eager", marks=long),
        pytest.param("a", "aot_eager", marks=long),
        pytest.param(Stack("a", "b"), "eager", marks=long),
        pytest.param(Parallel("a", "b"), "aot_eager", marks=long),
    ],
    ids=str,
)
def test_a_compiled_pass_reports_the_gates_of_a_plain_one(adapted, setup, backend):
    model = with_adapters(adapted("bert"), "unipelt")
    model.set_active_adapters(setup)
    check_reports(model, inputs_for(model), "adapter_gating_scores", backend)


@pytest.mark.parametrize(
    ("model_type", "backend"), [("bert", "aot_eager"), pytest.param("t5", "eager", marks=long)]
)
def test_a_compiled_pass_reports_the_attention_of_a_plain_one(adapted, model_type, backend):
    model = with_adapters(adapted(model_type), "seq_bn")
    model.add_adapter_fusion(Fuse("a", "b"), set_active=True)
    inputs = {**inputs_for(model), **({"use_cache": False} if model_type == "t5" else {})}
    check_reports(model, inputs, "adapter_fusion_attentions", backend)


def test_a_compiled_pass_of_rows_reports_the_gates_of_a_plain_one(adapted):
    model = adapted("bert")
    for name in "ab":
        model.add_adapter(name, "seq_bn[use_gating=True]")
    inputs = {**inputs_for(model), "adapter_names": ["b", "__base__", "a"]}
    check_reports(model, inputs, "adapter_gating_scores", "eager")


@torch.no_grad()
def check_reports(model, inputs, field, backend):
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    options = {f"output_{field}": True}
    expected, actual = (flat(m(**inputs, **options)[field]) for m in (model, compiled))
    assert actual.keys() == expected.keys()
    assert expected
    for place, scores in expected.items():
        np.testing.assert_allclose(actual[place], scores, atol=1e-6, rtol=1e-5)
    assert field not in compiled(**inputs)


def flat(report):
    return {
        (subject, layer, location): scores
        for subject, layers in report.items()
        for layer, places in layers.items()
        for location, scores in places.items()
    }


def compile_layers(model):
    for layer in model.encoder.layer:
        layer.compile(backend="eager", fullgraph=True)


def compile_linears(model):
    for name, module in model.named_modules():
        if type(module) is torch.nn.Linear and "adapter_bank" not in name:
            module.compile(backend="eager")  # no graph: torch traces the hooks, one by one


def compile_with_breaks(model):
    for layer in model.encoder.layer:
        layer.output.dense.register_forward_hook(torch.compiler.disable(lambda *_: None))
    model.compile(backend="eager")


# The parts that are traced and those that are not hand values to each other.
@pytest.mark.parametrize(
    ("method", "names", "compile_parts"),
    [
        ("seq_bn", None, compile_layers),
        ("double_seq_bn", ["b", "__base__", "a"], compile_linears),
        pytest.param("seq_bn", ["b", "__base__", "a"], compile_with_breaks, marks=long),
        pytest.param("unipelt", None, compile_layers, marks=long),
    ],
)
def test_a_model_compiled_in_parts_gives_what_a_plain_one_does(
    adapted, method, names, compile_parts
):
    model = with_adapters(adapted("bert"), method)
    model.set_active_adapters("a")
    inputs = {**inputs_for(model), **({} if names is None else {"adapter_names": names})}
    expected = run(model, inputs)
    compile_parts(model)
    for _ in range(2):
        torch.testing.assert_close(run(model, inputs), expected, atol=1e-6, rtol=1e-5)


def test_a_compiled_model_has_a_set_up_for_each_thread(adapted):
    model = with_adapters(adapted("bert"), "seq_bn")
    inputs, setups = inputs_for(model), ("a", Stack("a", "b"))
    compiled = torch.compile(model, backend="eager", fullgraph=True)

    def under(setup, called):
        with AdapterSetup(setup):
            return run(called, inputs)

    expected = [under(setup, model) for setup in setups]
    for setup in setups:
        under(setup, compiled)
    wrong = []

    def work(number):
        outputs = [under(setups[number], compiled) for _ in range(10)]
        wrong.extend(o for o in outputs if not torch.allclose(o, expected[number], atol=1e-6))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(setups))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


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
