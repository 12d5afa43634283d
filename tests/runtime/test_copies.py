"""Copies of adapted models, by whatever way, compute the same and share nothing."""

import copy
import io
import pickle

import pytest
import torch

from adapters_runtime import AutoAdapterModel, Fuse
from adapters_runtime.inject.bank import bank_of
from tests.support.methods import METHODS
from tests.support.running import inputs_for, output_of, randomise_adapter


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


def by_torch(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {"deepcopy": copy.deepcopy, "pickle": by_pickle, "torch": by_torch}
SAMPLED = {("bert", "compacter"), ("llama", "vera"), ("bert", "mam"), ("llama", "loreft")}
CASES = [
    pytest.param(*case, id="-".join(case), marks=[] if case in SAMPLED else [pytest.mark.long])
    for case in ((model_type, method) for model_type in ("bert", "llama") for method in METHODS)
]


def changed(model, name="a"):
    with torch.no_grad():
        for parameter in bank_of(model).parameters_of(name):
            parameter.add_(0.5)


def assert_independent(model, other, inputs=None):
    """Hold a copy to the outputs of its original, and either to its own when the other changes."""
    expected = output_of(model, inputs)
    assert type(other) is type(model)
    assert torch.equal(output_of(other, inputs), expected)
    ours = {p.data_ptr() for p in model.parameters()}
    assert ours.isdisjoint(p.data_ptr() for p in other.parameters())
    changed(other)
    assert torch.equal(output_of(model, inputs), expected)
    assert not torch.equal(output_of(other, inputs), expected)
    other.delete_adapter("a")
    assert torch.equal(output_of(model, inputs), expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("model_type", "method"), CASES)
def test_a_copy_is_equal_and_independent(adapted, model_type, method, way):
    model = adapted(model_type)
    model.add_adapter("a", METHODS[method], set_active=True)
    randomise_adapter(model, "a")
    output_of(model)  # what a pass leaves behind must not get in the way
    assert_independent(model, WAYS[way](model))


@pytest.mark.parametrize("way", WAYS)
def test_heads_and_fusions_are_copied_too(bare_models, way):
    model = AutoAdapterModel.from_config(bare_models("bert").config)
    for name in "ab":
        model.add_adapter(name, METHODS["seq_bn"])
        randomise_adapter(model, name)
    model.add_adapter_fusion(["a", "b"])
    model.add_classification_head("topics", num_labels=3)
    model.set_active_adapters(Fuse("a", "b"))
    model.active_head = "topics"
    other = WAYS[way](model.eval())
    assert other.active_head == "topics"
    assert_independent(model, other)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_is_copied_while_an_adapter_is_merged(adapted, way):
    model = adapted("bert")
    before = output_of(model)
    model.add_adapter("a", METHODS["lora"], set_active=True)
    randomise_adapter(model, "a")
    model.merge_adapter("a")
    other = WAYS[way](model)
    assert torch.equal(output_of(other), output_of(model))
    other.reset_adapter()
    other.set_active_adapters(None)
    assert torch.equal(output_of(other), before)
    assert not torch.equal(output_of(model), before)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_is_copied_after_it_was_compiled(adapted, way):
    model = adapted("bert")
    model.add_adapter("a", METHODS["mam"], set_active=True)
    randomise_adapter(model, "a")
    inputs = inputs_for(model)
    with torch.no_grad():
        torch.compile(model, backend="eager", fullgraph=True)(**inputs)
    assert_independent(model, WAYS[way](model))
