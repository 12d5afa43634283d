"""What fails half-way leaves a model as it was before."""

import pytest
import torch

import adapters_runtime
from adapters_runtime import Fuse, Stack
from adapters_runtime.errors import (
    ConfigError,
    FusionNotLoaded,
    MergeStateError,
)
from adapters_runtime.inject.bank import bank_of
from tests.support.methods import METHODS
from tests.support.running import inputs_for, output_of


class Interrupted(BaseException):
    """As Ctrl-C: no error that anybody would expect."""


def interrupt(*_):
    raise Interrupted


def weights_of(model):
    return {
        key: tensor.clone()
        for key, tensor in model.state_dict().items()
        if "adapter_bank" not in key
    }


def trainable(model):
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


# --- merging


def test_a_merge_that_is_broken_off_is_undone(with_methods, monkeypatch):
    model = with_methods("bert", METHODS["lora"])
    before, expected = weights_of(model), output_of(model)
    last = list(bank_of(model).get_submodule("points").modules())
    lora = [module for module in last if type(module).__name__ == "LoRA"][-1]
    monkeypatch.setattr(lora, "fold", interrupt)
    with pytest.raises(Interrupted):
        model.merge_adapter("a")
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights_of(model).items())
    assert torch.equal(output_of(model), expected)
    monkeypatch.undo()
    model.merge_adapter("a")
    model.reset_adapter()
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights_of(model).items())


@pytest.mark.parametrize("second", ["a", "b"])
def test_a_second_merge_is_refused_and_the_first_stays(with_methods, second):
    model = with_methods("bert", "lora[attn_matrices=['q']]", "lora[attn_matrices=['v']]")
    before = weights_of(model)
    model.merge_adapter("a")
    merged = weights_of(model)
    with pytest.raises(MergeStateError, match="'a' is merged already; call reset_adapter"):
        model.merge_adapter(second)
    assert all(torch.equal(tensor, merged[key]) for key, tensor in weights_of(model).items())
    model.reset_adapter()
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights_of(model).items())


def test_a_new_dora_starts_from_the_base_and_not_from_what_is_merged(with_methods):
    model = with_methods("bert", "dora")
    model.merge_adapter("a")
    model.add_adapter("a", "dora", overwrite_ok=True)
    found = output_of(model)
    model.set_active_adapters(None)
    torch.testing.assert_close(found, output_of(model))


# --- adding


def test_an_adapter_whose_making_is_interrupted_is_not_half_there(adapted, monkeypatch):
    model = adapted("bert")
    parameters = len(list(model.parameters()))
    gated = "prefix_tuning[prefix_length=3,bottleneck_size=5,use_gating=True]"
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.init, "zeros_", interrupt)  # of the gates, after the prefixes
        with pytest.raises(Interrupted):
            model.add_adapter("a", gated)
    assert len(list(model.parameters())) == parameters
    model.add_adapter("a", gated)


def test_an_adapter_without_a_text_to_start_from_replaces_none(with_methods):
    model = with_methods("bert", "lora")
    expected = output_of(model)
    text = "prompt_tuning[prompt_init='from_string',prompt_init_text='hello']"
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        model.add_adapter("a", text, overwrite_ok=True)
    assert torch.equal(output_of(model), expected)


def test_a_model_is_not_initialised_with_a_part_of_its_adapters(bare_models):
    model = bare_models("bert")
    with pytest.raises(ConfigError, match="bogus"):
        adapters_runtime.init(model, {"a": "lora", "b": "bogus"})
    adapters_runtime.init(model, {"a": "lora", "b": "seq_bn"})
    assert set(model.adapters_config) == {"a", "b"}


def test_an_average_that_cannot_be_made_leaves_no_adapter(with_methods):
    model = with_methods("bert", "lora", "lora")
    options = {"combine_strategy": "lora_delta_w_svd", "svd_rank": 1000}
    with pytest.raises(ConfigError, match="choose a smaller rank"):
        model.average_adapter("c", ["a", "b"], **options)
    assert set(model.adapters_config) == {"a", "b"}


def test_adapters_that_shared_parameters_part_after_one_is_deleted(with_methods):
    model = with_methods("bert", "mtl_lora", "mtl_lora", "mtl_lora")
    model.share_parameters(["a", "b", "c"], name="tasks")
    model.delete_adapter("b")
    model.unshare_parameters(name="tasks")
    bank = bank_of(model)
    ours, theirs = ({id(p) for p in bank.parameters_of(name)} for name in ("a", "c"))
    assert not ours & theirs


# --- training


def test_training_what_is_not_there_changes_nothing(with_methods):
    model = with_methods("bert", "seq_bn", "seq_bn")
    model.train_adapter("a")
    before = trainable(model)
    with pytest.raises(FusionNotLoaded):
        model.train_adapter(Fuse("a", "b"))
    assert trainable(model) == before
    assert model.active_adapters == Stack("a")


def test_training_embeddings_that_are_not_there_changes_nothing(with_methods):
    model = with_methods("vit", "seq_bn")
    before = trainable(model)
    with pytest.raises(ConfigError, match="reads no tokens"):
        model.train_adapter("a", train_embeddings=True)
    assert trainable(model) == before


# --- running


@pytest.mark.parametrize("model_type", ["deberta-v2", "mpnet"])
def test_prefixes_of_a_pass_that_failed_do_not_reach_a_later_one(adapted, model_type):
    model = adapted(model_type)
    expected = output_of(model)
    model.add_adapter("a", "prefix_tuning_flat[prefix_length=3]", set_active=True)
    ends = ("attention.output.dense", "attention.attn.o")
    output = next(m for path, m in model.named_modules() if path.endswith(ends))
    handle = output.register_forward_pre_hook(interrupt, prepend=True)
    with pytest.raises(Interrupted):
        output_of(model)
    handle.remove()
    model.set_active_adapters(None)
    assert torch.equal(output_of(model), expected)


@pytest.mark.parametrize("model_type", ["deberta", "deberta-v2"])
def test_the_mask_of_a_refused_call_does_not_reach_a_later_one(adapted, model_type):
    model = adapted(model_type)
    inputs = inputs_for(model)
    expected = output_of(model)
    model.add_adapter("a", "prompt_tuning[prompt_length=3]", set_active=True)
    embedded = torch.zeros(*inputs["input_ids"].shape, 16)
    mask = torch.zeros_like(inputs["input_ids"])
    with pytest.raises(ValueError, match="both input_ids and inputs_embeds"):
        model(**inputs, inputs_embeds=embedded, attention_mask=mask)
    model.set_active_adapters(None)
    assert torch.equal(output_of(model), expected)


# --- prefixes of a pair


def test_prefixes_of_one_half_of_a_pair_are_ejected(with_methods):
    model = with_methods("bert+gpt2", "prefix_tuning[prefix_length=3,encoder_prefix=False]")
    expected = output_of(model)
    model.eject_prefix_tuning("a")
    torch.testing.assert_close(output_of(model), expected)
