"""`adapter_names` gives each row its own set-up: it comes out as if it were alone."""

import pytest
import torch

from adapters_runtime import AdapterSetup, Average, BatchSplit, MultiTask, Parallel, Stack
from adapters_runtime.errors import AdapterNotLoaded, InvalidComposition
from adapters_runtime.inject.bank import bank_of
from tests.support.running import add_adapters, inputs_for, output_of, randomise_adapter

METHODS = {
    "seq_bn": "seq_bn[reduction_factor=4]",
    "double_seq_bn": "double_seq_bn[reduction_factor=4]",
    "seq_bn_inv": "seq_bn_inv[reduction_factor=4]",
    "adapter_plus": "adapter_plus",
    "compacter": "compacter[phm_dim=2,reduction_factor=4]",
    "lora": "lora[r=2]",
    "ia3": "ia3",
    "vera": "vera",
    "prefix_tuning": "prefix_tuning[prefix_length=3]",
    "prompt_tuning": "prompt_tuning[prompt_length=3]",
    "loreft": "loreft",
    "mam": "prefix_tuning[prefix_length=3]|par_bn",
    "unipelt": "unipelt",
}
SAMPLED = [
    ("bert", "seq_bn_inv"),
    ("bert", "prefix_tuning"),
    ("bert", "loreft"),
    ("gpt2", "lora"),
    ("gpt2", "compacter"),
    ("llama", "unipelt"),
    ("llama", "ia3"),
    ("t5", "double_seq_bn"),
    ("bart", "lora"),
]
CASES = [
    pytest.param(
        model_type,
        method,
        id=f"{model_type}-{method}",
        marks=[] if (model_type, method) in SAMPLED else [pytest.mark.long],
    )
    for model_type in ("bert", "gpt2", "llama", "t5", "bart", "vit", "phi3")
    for method in METHODS
    if (model_type, method) != ("vit", "prompt_tuning")
]


@pytest.fixture
def model(adapted):
    """Return a function that gives a model with three adapters of a method."""

    def get(model_type, method):
        model = adapted(model_type)
        add_adapters(model, dict.fromkeys(("a", "b", "c"), METHODS.get(method, method)))
        return model

    return get


def alone(model, setup, row, rows):
    inputs = {key: value[row : row + 1] for key, value in inputs_for(model, rows=rows).items()}
    with AdapterSetup(None if setup == "__base__" else setup):
        return output_of(model, inputs)


def by_row(model, setups):
    inputs = inputs_for(model, rows=len(setups))
    return output_of(model, {**inputs, "adapter_names": setups})


@pytest.mark.parametrize(("model_type", "method"), CASES)
def test_each_row_is_as_if_alone(model, model_type, method):
    model = model(model_type, method)
    setups = ["b", "a", Stack("a", "c"), "a", "b", "c"]
    if method != "prompt_tuning":
        setups.insert(1, "__base__")
    found = by_row(model, setups)
    for row, setup in enumerate(setups):
        expected = alone(model, setup, row, len(setups))
        # Rows with shorter prompts are filled up: in encoders at the end, else at the beginning.
        length = expected.shape[1]
        places = slice(length) if model_type == "bert" else slice(-length, None)
        own = found[row : row + 1, places]
        torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-4)


def test_rows_that_stand_together_already_give_the_same(model):
    model = model("bert", "seq_bn")
    model.set_active_adapters(BatchSplit("a", "b", batch_sizes=[1, 2]))
    expected = output_of(model)
    model.set_active_adapters(None)
    assert torch.equal(by_row(model, ["a", "b", "b"]), expected)


def test_adapters_of_different_kinds_meet_in_one_batch(adapted):
    model = adapted("gpt2")
    setups = ["prefix_tuning[prefix_length=2]", "lora[r=2]", "seq_bn", "ia3"]
    for seed, config in enumerate(setups):
        model.add_adapter(f"n{seed}", config)
        randomise_adapter(model, f"n{seed}", seed=seed)
    names = ["n2", "__base__", "n0", "n3", "n1", "n0", Average("n1", "n2"), Stack("n0", "n3")]
    found = by_row(model, names)
    for row, name in enumerate(names):
        torch.testing.assert_close(
            found[row : row + 1], alone(model, name, row, len(names)), atol=1e-5, rtol=1e-4
        )


def test_the_names_hold_for_one_call_only(model):
    model = model("bert", "lora")
    model.set_active_adapters("c")
    expected = output_of(model)
    by_row(model, ["a", "b"])
    assert torch.equal(output_of(model), expected)
    with AdapterSetup("a"):
        by_row(model, ["b", None])
        assert model.active_adapters == Stack("a")


def test_the_names_go_with_a_call_that_fails(model):
    model = model("bert", "lora")
    outside = {"input_ids": torch.full((3, 2), 10**6)}
    with pytest.raises(IndexError):
        model(**outside, adapter_names=["a", "b", "c"])
    assert torch.equal(output_of(model), by_row(model, [None] * 3))


def test_each_row_trains_its_own_adapter(model):
    model = model("bert", "seq_bn")
    bank = bank_of(model)
    for name in ("a", "b", "c"):
        bank.freeze(name, frozen=False)
    inputs = inputs_for(model)
    outputs = model(**inputs, adapter_names=["b", "a", "__base__"])[0]
    # Row 1 is the one in the loss; its sum is constant behind a norm, so weights go into it.
    (outputs[1] * torch.randn(outputs[1].shape)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in bank.parameters_of("a"))
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in bank.parameters_of("b"))
    assert all(p.grad is None for p in bank.parameters_of("c"))


@pytest.mark.parametrize(
    ("names", "error", "hint"),
    [
        (["a", "b"], InvalidComposition, "set-ups or tasks for 2 rows, but the batch has 3"),
        (["a", "b", "x"], AdapterNotLoaded, "no adapter called 'x'"),
        ("a", InvalidComposition, "a set-up for each row"),
        (["a", Parallel("a", "b"), "b"], InvalidComposition, "Stack, Fuse, Split or Average"),
        (["a", Stack(Parallel("a", "b")), "b"], InvalidComposition, "cannot stand in one row"),
    ],
)
def test_names_that_cannot_be_are_refused(model, names, error, hint):
    model = model("bert", "seq_bn")
    with pytest.raises(error, match=hint):
        by_row_of_three(model, names)
    assert model.active_adapters is None


def by_row_of_three(model, names):
    return output_of(model, {**inputs_for(model), "adapter_names": names})


@pytest.mark.parametrize("setup", [None, MultiTask("a", "b")])
def test_each_row_is_given_its_own_set_up_and_none_two_rows(model, setup):
    model = model("bert", "seq_bn")
    model.set_active_adapters(setup)
    given = {"adapter_names": ["a", "b"]} if setup is None else {"task_ids": [0, 1]}
    with pytest.raises(InvalidComposition, match="tasks for 2 rows, but the batch has 4"):
        model(**inputs_for(model, rows=4), **given)


def test_the_rows_are_those_of_the_text_and_not_of_its_positions(model):
    model = model("bert", "seq_bn")
    inputs, positions = inputs_for(model), {"position_ids": torch.arange(7)[None]}
    names = {"adapter_names": ["a", "b", "c"]}
    assert torch.equal(
        output_of(model, positions | inputs | names), output_of(model, inputs | names)
    )


def test_no_adapter_may_be_called_as_the_base_is(adapted):
    with pytest.raises(InvalidComposition, match="stands for no adapter"):
        adapted("bert").add_adapter("__base__", "lora")
