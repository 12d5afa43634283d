"""Two adapters with a head each, trained in one pass."""

import threading

import pytest
import torch

from adapters_runtime import AdapterSetup, Parallel, Stack
from adapters_runtime.inject.bank import bank_of
from tests.support.heads import flexible
from tests.support.running import inputs_for, randomise_adapter

CONFIGS = ["seq_bn[reduction_factor=4]", "lora[r=2]", "prefix_tuning[prefix_length=3]"]


@pytest.fixture(params=CONFIGS)
def model(request):
    model = flexible("bert")
    for seed, name in enumerate("abc"):
        model.add_adapter(name, request.param)
        randomise_adapter(model, name, seed=seed)
        model.add_classification_head(name, num_labels=2 + seed)
    return model


def batch(model):
    return inputs_for(model) | {"labels": torch.tensor([0, 1, 1])}


def gradients(model):
    return {k: p.grad for k, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def own(model, *names):
    """Return the names of the parameters of these adapters and of their heads."""
    adapters = {id(p) for name in names for p in bank_of(model).parameters_of(name)}
    heads = {id(p) for name in names for p in model.heads[name].parameters()}
    return {key for key, p in model.named_parameters() if id(p) in adapters | heads}


def test_one_pass_gives_both_losses_and_the_gradients_of_two(model):
    model.train_adapter(Parallel("a", "b"))
    model.eval()  # dropout would tell the two apart
    outputs = model(**batch(model))
    outputs.loss.backward()
    together = gradients(model)
    assert together.keys() <= own(model, "a", "b")
    assert all(any(key in together for key in own(model, name)) for name in "ab")
    model.zero_grad()
    losses = []
    for name in "ab":
        with AdapterSetup(name):
            losses.append(model(**batch(model)).loss)
        losses[-1].backward()
    apart = gradients(model)
    torch.testing.assert_close(outputs.loss, sum(losses))
    assert together.keys() == apart.keys()
    for key, gradient in together.items():
        torch.testing.assert_close(gradient, apart[key], atol=1e-6, rtol=1e-4)


def test_threads_choose_heads_of_their_own_in_nested_set_ups(model):
    inputs = inputs_for(model)

    def run(setup, head):
        with torch.no_grad(), AdapterSetup(setup, head_setup=head):
            return model(**inputs).logits

    wanted = [("a", "b"), ("b", "a"), (Stack("a", "c"), "c"), ("c", "a")]
    expected = [run(*pair) for pair in wanted]
    wrong = []

    def work(index):
        outer, inner = wanted[index], wanted[(index + 1) % len(wanted)]
        for _ in range(8):
            with AdapterSetup(outer[0], head_setup=outer[1]), torch.no_grad():
                within = run(*inner)
                after = model(**inputs).logits
            found = (within, expected[(index + 1) % len(wanted)]), (after, expected[index])
            wrong.extend(index for got, want in found if not torch.equal(got, want))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
