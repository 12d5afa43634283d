"""Gating scores and fusion attention have a row for each row of the batch, whoever shares it."""

import numpy as np
import pytest
import torch

from adapters_runtime import Average, BatchSplit, Fuse, Parallel, Stack
from tests.support.running import add_adapters, inputs_for

GATED = {
    "seq_bn": "seq_bn[use_gating=True]",
    "lora": "lora[r=2,use_gating=True]",
    "unipelt": "unipelt",
}
ROWS = 4


@pytest.fixture
def gated(adapted):
    """Return a function that gives a tiny BERT with gated adapters `a` and `b`."""

    def get(method):
        model = adapted("bert")
        add_adapters(model, dict.fromkeys("ab", GATED[method]))
        return model

    return get


@torch.no_grad()
def reported(model, inputs, field="adapter_gating_scores", **options):
    report = model(**inputs, **options, **{f"output_{field}": True})[field]
    return {
        (subject, layer, location): scores
        for subject, layers in report.items()
        for layer, places in layers.items()
        for location, scores in places.items()
    }


def alone(model, inputs, setups, field="adapter_gating_scores"):
    """Return what each row reports when it is the whole batch, rows of one adapter together."""
    found = {}
    for row, setup in enumerate(setups):
        model.set_active_adapters(setup)
        own = {key: value[row % ROWS : row % ROWS + 1] for key, value in inputs.items()}
        for place, scores in reported(model, own, field).items():
            found.setdefault(place, []).append(scores)
    return {place: np.concatenate(rows) for place, rows in found.items()}


def check(actual, expected):
    assert actual
    assert actual.keys() == expected.keys()
    for place, scores in expected.items():
        np.testing.assert_allclose(actual[place], scores, atol=1e-6, rtol=1e-5, err_msg=str(place))


BOTH = Stack("a", "b")
SHARED_OUT = [
    (BatchSplit("a", "b", batch_sizes=[1, 3]), ["a", "b", "b", "b"]),
    (BatchSplit("a", "b", "a", batch_sizes=[1, 1, 2]), ["a", "b", "a", "a"]),
    (BatchSplit(BOTH, "a", batch_sizes=[3, 1]), [BOTH, BOTH, BOTH, "a"]),
    (BatchSplit("a", BatchSplit("b", "a", batch_sizes=[2, 1]), batch_sizes=[1, 3]), list("abba")),
    (Parallel("a", "b"), ["a"] * ROWS + ["b"] * ROWS),
    (Parallel("a", "a"), ["a"] * 2 * ROWS),
    (Parallel(BOTH, "a"), [BOTH] * ROWS + ["a"] * ROWS),
    (Parallel("b", Average("a", "b")), ["b"] * ROWS + [Average("a", "b")] * ROWS),
]


@pytest.mark.parametrize("method", GATED)
@pytest.mark.parametrize(("setup", "by_row"), SHARED_OUT, ids=lambda case: str(case)[:60])
def test_gates_of_a_shared_out_batch_are_those_of_its_rows(gated, method, setup, by_row):
    model = gated(method)
    inputs = inputs_for(model, rows=ROWS)
    expected = alone(model, inputs, by_row)
    model.set_active_adapters(setup)
    check(reported(model, inputs), expected)


@pytest.mark.parametrize("method", GATED)
@pytest.mark.parametrize(
    "names", [["a", "b", None, "a"], ["b", BOTH, "a", BOTH], ["a", BOTH, None, "a"]], ids=str
)
def test_gates_of_rows_with_set_ups_of_their_own_stand_in_the_rows_order(gated, method, names):
    model = gated(method)
    inputs = inputs_for(model, rows=ROWS)
    expected = alone(model, inputs, names)
    check(reported(model, inputs, adapter_names=names), expected)


def test_a_fusion_reports_the_gates_of_its_members(gated):
    model = gated("seq_bn")
    model.add_adapter_fusion(Fuse("a", "b"))
    inputs = inputs_for(model)
    expected = {}
    for name in "ab":
        model.set_active_adapters(name)
        expected |= reported(model, inputs)
    model.set_active_adapters(Fuse("a", "b"))
    found = reported(model, inputs)
    assert found.keys() == expected.keys()
    first = [place for place in expected if place[1] == 0]  # deeper ones read what was fused below
    check({place: found[place] for place in first}, {place: expected[place] for place in first})


def test_gates_of_one_row_stand_side_by_side_where_an_adapter_works_twice(gated):
    model = gated("seq_bn")
    inputs = inputs_for(model, rows=ROWS)
    model.set_active_adapters(Stack("a", "a"))
    twice = reported(model, inputs)
    model.set_active_adapters("a")
    once = reported(model, inputs)
    place = ("a", 0, "output_adapter")
    assert twice[place].shape == (ROWS, 2)
    np.testing.assert_allclose(twice[place][:, 0], once[place], atol=1e-6)
    # Rows on which it works once have nothing in the second column.
    model.set_active_adapters(BatchSplit(Stack("a", "a"), "a", batch_sizes=[1, 3]))
    some = reported(model, inputs)[place]
    np.testing.assert_allclose(some[:1], twice[place][:1], atol=1e-6)
    np.testing.assert_allclose(some[1:, 0], once[place][1:], atol=1e-6)
    assert np.isnan(some[1:, 1]).all()


def test_attention_of_rows_that_fuse_stands_in_the_rows_order(adapted):
    model = adapted("bert")
    add_adapters(model, dict.fromkeys("abl", "seq_bn"))
    fuse = Fuse("a", "b")
    model.add_adapter_fusion(fuse)
    inputs = inputs_for(model, rows=ROWS)
    names = [fuse, Stack("l", fuse), "a", fuse]
    field = "adapter_fusion_attentions"
    expected = alone(model, inputs, names, field)
    assert {len(scores) for scores in expected.values()} == {3}
    check(reported(model, inputs, field, adapter_names=names), expected)
