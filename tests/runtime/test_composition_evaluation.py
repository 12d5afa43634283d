"""Blocks do what they promise, at every kind of place."""

import threading

import pytest
import torch

from adapters_runtime import AdapterSetup, Average, BatchSplit, Parallel, Stack
from adapters_runtime.errors import InvalidComposition
from tests.support.running import inputs_for, output_of, randomise_adapter

CONFIGS = {
    "seq_bn": "seq_bn[reduction_factor=4]",
    "seq_bn_inv": "seq_bn_inv[reduction_factor=4]",
    "par_bn": "par_bn",
    "lora": "lora[r=2]",
    "ia3": "ia3",
}


@pytest.fixture(params=[(c, m) for c in CONFIGS for m in ("bert", "gpt2", "llama")], ids="-".join)
def model(request, adapted):
    config, model_type = request.param
    model = adapted(model_type)
    for seed, name in enumerate(("a", "b")):
        model.add_adapter(name, CONFIGS[config])
        randomise_adapter(model, name, seed=seed)
    return model


def alone(model, name, rows=slice(None)):
    inputs = {key: value[rows] for key, value in inputs_for(model).items()}
    model.set_active_adapters(name)
    return output_of(model, inputs)


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_average_of_an_adapter_with_itself_is_that_adapter(model):
    expected = alone(model, "a")
    model.set_active_adapters(Average("a", "a", weights=[0.3, 0.7]))
    close(output_of(model), expected)


@pytest.mark.parametrize("config", ["lora[r=2]", "mtl_lora[r=2]", "par_bn"])
def test_weights_of_updates_need_not_sum_to_one(adapted, config):
    """What updates are added to is there once: half of one alone is half of it."""
    model = adapted("bert")
    for seed, name in enumerate(("a", "b")):
        model.add_adapter(name, config)
        randomise_adapter(model, name, seed=seed)
    output = "encoder.layer.0.output.dropout" if config == "par_bn" else "encoder.layer.0.attention"
    seen = {}
    module = model.get_submodule(output if config == "par_bn" else f"{output}.self.value")
    module.register_forward_hook(lambda _module, _args, output: seen.update(h=output))
    found = {}
    half = Average("a", "b", weights=[0.5, 0.25], normalize_weights=False)
    for setup in (None, "a", "b", half, BatchSplit(half, "a", batch_sizes=[2, 1])):
        model.set_active_adapters(setup)
        output_of(model)
        found[str(setup)] = seen["h"]
    base, a, b, mixed, rows = found.values()
    close(mixed - base, 0.5 * (a - base) + 0.25 * (b - base))
    close(rows, torch.cat([mixed[:2], a[2:]]))


def test_a_stack_of_one_is_that_adapter(model):
    expected = alone(model, "a")
    model.set_active_adapters(Stack("a"))
    assert torch.equal(output_of(model), expected)


def test_rows_of_a_split_batch_are_as_if_alone(model):
    first, rest = alone(model, "a", slice(0, 1)), alone(model, "b", slice(1, 3))
    model.set_active_adapters(BatchSplit("a", "b", batch_sizes=[1, 2]))
    close(output_of(model), torch.cat([first, rest]))


def test_a_stack_in_a_split_batch_is_as_if_alone(model):
    model.set_active_adapters(Stack("a", "b"))
    stacked = output_of(model)
    single = alone(model, "a")
    model.set_active_adapters(BatchSplit(Stack("a", "b"), "a", batch_sizes=[2, 1]))
    close(output_of(model), torch.cat([stacked[:2], single[2:]]))


def test_parallel_gives_both_outputs_one_after_the_other(model):
    expected = torch.cat([alone(model, "a"), alone(model, "b")])
    model.set_active_adapters(Parallel("a", "b"))
    close(output_of(model), expected)


def test_a_batch_of_another_size_is_refused(model):
    model.set_active_adapters(BatchSplit("a", "b", batch_sizes=[1, 1]))
    with pytest.raises(InvalidComposition, match="covers 2 rows, but the input has 3"):
        output_of(model)


def test_an_interrupted_pass_leaves_nothing_behind(model):
    expected = alone(model, "a")
    model.set_active_adapters(BatchSplit("a", "b", batch_sizes=[1, 1]))
    with pytest.raises(InvalidComposition):
        output_of(model)
    assert torch.equal(alone(model, "a"), expected)


def test_stacked_loras_add_their_updates(adapted):
    model = adapted("llama")  # grouped queries: the reference's chaining would not even fit
    layer = model.layers[0].self_attn.v_proj
    x = torch.randn(2, 5, layer.in_features)
    for seed, name in enumerate(("a", "b")):
        model.add_adapter(name, "lora[r=2]")
        randomise_adapter(model, name, seed=seed)
    with torch.no_grad():
        plain = layer(x)
        updates = []
        for name in ("a", "b"):
            model.set_active_adapters(name)
            updates.append(layer(x) - plain)
        model.set_active_adapters(Stack("a", "b"))
        close(layer(x), plain + updates[0] + updates[1])


def test_adapters_at_different_places_run_in_parallel(adapted):
    model = adapted("bert")
    for name, config in (("a", CONFIGS["seq_bn"]), ("b", CONFIGS["lora"])):
        model.add_adapter(name, config)
        randomise_adapter(model, name)
    expected = torch.cat([alone(model, "a"), alone(model, "b")])
    model.set_active_adapters(Parallel("a", "b"))
    close(output_of(model), expected)


def test_each_thread_has_its_own_set_up(adapted):
    model = adapted("bert")
    expected = {None: output_of(model)}
    for seed, name in enumerate("abcdefg"):
        model.add_adapter(name, CONFIGS["seq_bn_inv"])
        randomise_adapter(model, name, seed=seed)
        expected[name] = alone(model, name)
    model.set_active_adapters(None)
    wrong = []

    def work(name):
        for _ in range(20):
            with AdapterSetup(name):
                if not torch.equal(output_of(model), expected[name]):
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_set_ups_nest(adapted):
    model = adapted("bert")
    for seed, name in enumerate(("a", "b")):
        model.add_adapter(name, CONFIGS["seq_bn"])
        randomise_adapter(model, name, seed=seed)
    inside = {name: alone(model, name) for name in ("a", "b")}
    model.set_active_adapters("a")
    with AdapterSetup("b"):
        with AdapterSetup(None):
            assert model.active_adapters is None
        with AdapterSetup(None, ignore_empty=True):
            assert torch.equal(output_of(model), inside["b"])
        assert torch.equal(output_of(model), inside["b"])
    assert torch.equal(output_of(model), inside["a"])
