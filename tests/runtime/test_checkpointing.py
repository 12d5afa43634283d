"""A layer that is recomputed in the backward pass sees the set-up under which it ran."""

import threading
from functools import partial

import pytest
import torch

import adapters_runtime
from adapters_runtime import AdapterSetup, Parallel, Stack
from adapters_runtime.inject.bank import bank_of
from tests.support.running import add_adapters, inputs_for

SAMPLED = [("bert", "seq_bn"), ("gpt2", "lora"), ("llama", "prefix_tuning"), ("t5", "mam")]
EVERY = [
    (model_type, method)
    for model_type in (
        "bert",
        "gpt2",
        "llama",
        "t5",
        "bart",
        "vit",
        "deberta-v2",
        "gpt_neox",
        "bert+gpt2",
    )
    for method in (
        "double_seq_bn",
        "seq_bn_inv",
        "lora",
        "ia3",
        "prefix_tuning",
        "unipelt",
        "loreft",
    )
]
CASES = [pytest.param(*case, id="-".join(case)) for case in SAMPLED] + [
    pytest.param(*case, id="-".join(case), marks=pytest.mark.long)
    for case in EVERY
    if case not in SAMPLED
]
KINDS = pytest.mark.parametrize("reentrant", [False, True], ids=["saved", "reentrant"])


def with_two_adapters(model, method):
    add_adapters(model, dict.fromkeys(("a", "b"), method))
    model.train_adapter(Stack("a", "b"))
    return model.train()


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for field in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            if isinstance(getattr(module, field, None), float):
                setattr(module, field, 0.0)
    return model


def backward(model, setup, backward_within=None):
    """Return the gradients of the adapters after a pass under `setup` that is left before."""
    model.zero_grad()
    with AdapterSetup(setup):
        loss = model(**inputs_for(model))[0].float().square().mean()
    if backward_within is None:
        loss.backward()
    else:
        backward_within(loss.backward)
    bank = bank_of(model)
    return [
        p.grad.clone()
        for name in ("a", "b")
        for p in bank.parameters_of(name)
        if p.grad is not None
    ]


def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def enable(model, reentrant):
    model.activation_checkpointing_enable({"use_reentrant": reentrant})


@KINDS
@pytest.mark.parametrize(("model_type", "method"), CASES)
@pytest.mark.filterwarnings("ignore:.*use_cache.*")
def test_gradients_are_those_without_checkpoints(adapted, model_type, method, reentrant):
    model = without_dropout(with_two_adapters(adapted(model_type), method))
    expected = {setup: backward(model, setup) for setup in ("a", Parallel("a", "b"))}
    enable(model, reentrant)
    for setup, gradients in expected.items():
        assert_same(backward(model, setup), gradients)
        assert_same(backward(model, setup, in_a_thread), gradients)


@KINDS
def test_the_model_s_own_set_up_may_change_before_the_backward_pass(adapted, reentrant):
    model = without_dropout(with_two_adapters(adapted("bert"), "seq_bn"))
    model.set_active_adapters("a")
    expected = backward(model, "a")
    enable(model, reentrant)
    model.zero_grad()
    loss = model(**inputs_for(model))[0].square().mean()
    model.set_active_adapters("b")
    loss.backward()
    assert_same([p.grad for p in bank_of(model).parameters_of("a")], expected)
    assert all(p.grad is None for p in bank_of(model).parameters_of("b"))
    assert model.active_adapters == Stack("b")


@KINDS
def test_checkpoints_that_came_before_the_adapters_count_too(bare_models, reentrant):
    expected = backward(
        without_dropout(with_two_adapters(adapted_of(bare_models("gpt2")), "seq_bn")), "a"
    )
    model = bare_models("gpt2")
    enable(model, reentrant)
    adapters_runtime.init(model)
    assert_same(backward(without_dropout(with_two_adapters(model, "seq_bn")), "a"), expected)


def adapted_of(model):
    adapters_runtime.init(model)
    return model


def test_a_recomputation_broken_off_leaves_nothing_behind(adapted):
    """ViT uses one module at the ends of both sub-blocks, so that a leftover would meet it."""
    model = without_dropout(with_two_adapters(adapted("vit"), "double_seq_bn"))
    expected = backward(model, "a")
    enable(model, reentrant=False)
    found = []
    # One thread recomputes again and again, as autograd's own do, and no forward pass runs in it.
    passes = [backward_of(model) for _ in range(3)]
    in_a_thread(lambda: found.extend(gradients_of(model, loss) for loss in passes))
    for gradients in found:
        assert_same(gradients, expected)


def backward_of(model):
    with AdapterSetup("a"):
        return model(**inputs_for(model))[0].float().square().mean()


def gradients_of(model, loss):
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in bank_of(model).parameters_of("a")]


@KINDS
@pytest.mark.parametrize("anew", [False, True], ids=["same_thread", "own_thread"])
def test_a_layer_that_runs_again_with_its_hooks_sees_the_mask_of_its_own_pass(
    adapted, monkeypatch, reentrant, anew
):
    """Releases of transformers differ in whether a layer's hooks are inside its checkpoint."""
    model = without_dropout(with_two_adapters(adapted("bert"), "loreft[suffix_positions=2]"))
    expected = gradients_of_two_passes(model, lambda backward: backward())
    enable(model, reentrant)
    model.enable_input_require_grads()
    for layer in model.encoder.layer:
        monkeypatch.setattr(layer, "gradient_checkpointing", False)
    monkeypatch.setattr(type(model.encoder.layer[0]), "__call__", call_in_a_checkpoint)
    found = gradients_of_two_passes(model, in_a_thread if anew else lambda backward: backward())
    assert_same(found, expected)


def call_in_a_checkpoint(layer, *args, **kwargs):
    return layer._gradient_checkpointing_func(
        partial(super(type(layer), layer).__call__, **kwargs), *args
    )


def gradients_of_two_passes(model, run):
    """Return what two passes with different masks give together, backward after both."""
    inputs, losses = inputs_for(model), []
    generator = torch.Generator().manual_seed(0)
    for length in (3, 6):
        mask = torch.ones_like(inputs["input_ids"])
        mask[0, length:] = 0
        with AdapterSetup("a"):
            output = model(**inputs, attention_mask=mask)[0]
        losses.append((output * torch.randn(output.shape, generator=generator)).sum())
    model.zero_grad()
    run(sum(losses).backward)
    return [p.grad.clone() for p in bank_of(model).parameters_of("a")]
