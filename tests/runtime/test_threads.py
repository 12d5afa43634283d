"""Threads that run one model under set-ups of their own never see each other's."""

import sys
import threading

import pytest
import torch

from adapters_runtime import AdapterSetup, Average, Parallel, Stack
from tests.support.running import add_adapters, inputs_for

THREADS, PASSES = 8, 38


@pytest.fixture
def restless():
    """Let threads take turns as often as can be."""
    former = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(former)


@pytest.mark.usefixtures("restless")
def test_eight_threads_with_set_ups_of_their_own_compute_what_each_does_alone(adapted):
    model = adapted("bert")
    methods = {"a": "double_seq_bn_inv[reduction_factor=4]", "b": "lora[r=2]", "c": "mam"}
    add_adapters(model, methods)
    setups = ["a", "b", "c", None, Stack("a", "b"), Stack("b", "c")]
    setups += [Parallel("a", "a"), Average("b", "b")]
    inputs = inputs_for(model)

    def run(setup):
        with torch.no_grad(), AdapterSetup(setup):
            return model(**inputs)[0]

    expected = [run(setup) for setup in setups]
    wrong, ran = [], []

    def work(index):
        for _ in range(PASSES):
            found = run(setups[index])
            ran.append(index)
            if not torch.equal(found, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == THREADS * PASSES >= 300
    assert not wrong
