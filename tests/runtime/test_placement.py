"""Adapters stand where their layer computes, and are made of its numbers, layer by layer."""

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model

from adapters_runtime.architectures import ARCHITECTURES
from adapters_runtime.errors import UnreadableWeight
from adapters_runtime.inject.bank import bank_of
from tests.support.methods import METHODS
from tests.support.running import output_of, randomise_adapter

PER_LAYER = ("double_seq_bn", "par_bn", "compacter", "lora", "ia3", "vera", "dora", "loreft")
WHOLE = ("seq_bn_inv", "prefix_tuning", "prefix_tuning_flat", "mam", "unipelt", "compacter++")


def types_by_layer(model, name="a"):
    found = {}
    for point in bank_of(model).points:
        if point.layer is not None:
            kinds = found.setdefault(point.layer, set())
            kinds.update(p.dtype for p in point.parameters_of(name) if p.is_floating_point())
    return found


class InItsType:
    """Lets a layer in another type of numbers stand among others."""

    def __init__(self, layer, dtype):
        self.dtype = dtype
        layer.register_forward_pre_hook(self.enter, with_kwargs=True)
        layer.register_forward_hook(self.leave)

    def enter(self, module, args, kwargs):
        kwargs = {key: self.cast(value) for key, value in kwargs.items()}
        return tuple(self.cast(value) for value in args), kwargs

    def leave(self, module, args, output):
        if isinstance(output, tuple):
            return (output[0].float(), *output[1:])
        return output.float()

    def cast(self, value):
        if isinstance(value, tuple):
            return tuple(self.cast(part) for part in value)
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(self.dtype) if floating else value


@pytest.mark.parametrize("method", [*PER_LAYER, "mam"])
@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_a_layer_in_another_type_has_adapters_in_that_type(adapted, model_type, method):
    model = adapted(model_type)
    exact = model.get_layer(1)
    exact.to(torch.bfloat16)
    InItsType(exact, torch.bfloat16)
    torch.manual_seed(0)
    model.add_adapter("a", METHODS[method])
    found = types_by_layer(model)
    assert found == {0: {torch.float32}, 1: {torch.bfloat16}}
    plain = output_of(model)
    randomise_adapter(model, "a")
    model.set_active_adapters("a")
    mixed = output_of(model)
    assert mixed.dtype == plain.dtype
    exact.to(torch.float32)
    InItsType(exact, torch.float32)
    bank_of(model).to(torch.float32)
    assert (mixed - output_of(model)).norm() <= 0.02 * mixed.norm()


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_of_a_model_without_memory_needs_none(adapted, method):
    model = adapted("bert").to("meta")
    model.add_adapter("a", METHODS[method])
    assert {p.device.type for p in bank_of(model).parameters_of("a")} == {"meta"}


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_an_invertible_adapter_is_where_and_what_the_embeddings_are(adapted, model_type):
    model = adapted(model_type).to("meta", torch.bfloat16)
    model.add_adapter("a", METHODS["seq_bn_inv"])
    assert {(p.device.type, p.dtype) for p in bank_of(model).parameters_of("a")} == {
        ("meta", torch.bfloat16)
    }


@pytest.fixture(params=["cpu_offload", "disk_offload", "device_map"])
def offloaded(request, adapted, tmp_path):
    """A model whose weights are elsewhere while it does not run, but for `device_map`."""
    model = adapted("bert")
    if request.param == "cpu_offload":
        cpu_offload(model, torch.device("cpu"))
    elif request.param == "disk_offload":
        disk_offload(model, tmp_path, torch.device("cpu"))
    else:
        dispatch_model(model, {"": "cpu"}, force_hooks=True)
    return model


@pytest.mark.parametrize("method", [*PER_LAYER, *WHOLE])
def test_adapters_of_an_offloaded_model_work_as_on_any_other(adapted, offloaded, method):
    outputs = []
    for model in (adapted("bert"), offloaded):
        torch.manual_seed(0)
        model.add_adapter("a", METHODS[method], set_active=True)
        randomise_adapter(model, "a")
        outputs.append(output_of(model))
    assert {p.device.type for p in bank_of(offloaded).parameters_of("a")} == {"cpu"}
    assert torch.equal(*outputs)


def test_nothing_is_merged_into_weights_that_are_elsewhere(adapted):
    model = adapted("bert")
    cpu_offload(model, torch.device("cpu"))
    model.add_adapter("a", METHODS["lora"], set_active=True)
    randomise_adapter(model, "a")
    expected = output_of(model)
    with pytest.raises(UnreadableWeight, match="offloaded"):
        model.merge_adapter("a")
    assert torch.equal(output_of(model), expected)
