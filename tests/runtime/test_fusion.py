"""AdapterFusion: what it computes, how it is trained, and that it is saved and loaded exactly."""

import copy
import json

import numpy as np
import pytest
import torch

from adapters_runtime import AdapterSetup
from adapters_runtime.composition import Fuse, Stack
from adapters_runtime.configs import (
    AdapterFusionConfig,
    CompacterConfig,
    DoubleSeqBnConfig,
    DynamicAdapterFusionConfig,
    LoRAConfig,
    ParBnConfig,
    SeqBnConfig,
    StaticAdapterFusionConfig,
)
from adapters_runtime.errors import (
    AdapterNotLoaded,
    ConfigError,
    FormatError,
    FusionExists,
    FusionNotLoaded,
    HeadNotFound,
    TensorMismatch,
)
from adapters_runtime.fusing import modules_of, parameters_of, saved_tensors
from adapters_runtime.inject import bottleneck_point
from adapters_runtime.inject.bank import bank_of
from adapters_runtime.methods.fusion import AdapterFusion
from adapters_runtime.shapes import BaseDescription, expected_fusion_tensors
from tests.support.heads import flexible
from tests.support.running import add_adapters, inputs_for, output_of, randomise, randomise_adapter

WIDTH, MEMBERS = 16, 3
OPTIONS = [
    {"key": True, "query": True, "value": True},
    {"key": True, "query": True, "value": False},
    {"key": False, "query": True, "value": True},
    {"key": True, "query": False, "value": True},
    {"key": False, "query": False, "value": False},
    {"key": True, "query": True, "value": True, "value_before_softmax": False},
    {"key": True, "query": True, "value": True, "residual_before": True},
    {"key": True, "query": True, "value": True, "temperature": True},
]


@pytest.fixture
def fused(adapted):
    """Return a function that gives a model with three adapters, fused."""

    def get(model_type="bert", config="dynamic", method=None, **options):
        model = adapted(model_type)
        add_adapters(model, dict.fromkeys("abc", method or SeqBnConfig(reduction_factor=4)))
        model.add_adapter_fusion(["a", "b", "c"], config, set_active=True, **options)
        with torch.no_grad():
            for name in bank_of(model).fusions:
                for number, parameter in enumerate(parameters_of(bank_of(model), name)):
                    generator = torch.Generator().manual_seed(number)
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        return model

    return get


@pytest.fixture
def folding(monkeypatch):
    """Fold fusions however small they are."""
    monkeypatch.setattr(bottleneck_point, "FOLDED_FROM", 0)


def plain_fusion(fusion, x, outputs, residual):
    """Compute a fusion as the paper writes it: a key and a value for each adapter."""
    config = fusion.config
    stacked = torch.stack(outputs, dim=2)
    if config.residual_before:
        stacked = stacked + residual[:, :, None]
    query = fusion.query(x) if config.query else x
    keys = fusion.key(stacked) if config.key else stacked
    values = fusion.value(stacked) if config.value else stacked
    scores = (keys * query[:, :, None]).sum(-1) / fusion.temperature
    mixture = (torch.softmax(scores, -1)[..., None] * values).sum(2)
    return mixture if config.residual_before else mixture + residual


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_cheap_order_of_products_gives_what_the_paper_defines(options):
    config = StaticAdapterFusionConfig().replace(**options)
    fusion = AdapterFusion(WIDTH, config).double().eval()
    randomise(fusion)
    x, residual, *outputs = torch.randn(2 + MEMBERS, 2, 5, WIDTH, dtype=torch.float64).unbind()
    found = fusion(x, outputs, residual)
    torch.testing.assert_close(found.mixture, plain_fusion(fusion, x, outputs, residual))
    torch.testing.assert_close(found.attention.sum(-1), torch.ones(2, 5, dtype=torch.float64))


FORMS = [
    SeqBnConfig(reduction_factor=4),
    SeqBnConfig(reduction_factor=4, scaling=2.0, non_linearity="sigmoid"),
    SeqBnConfig(reduction_factor=4, original_ln_after=False, scaling="channel"),
    DoubleSeqBnConfig(reduction_factor=4),
    ParBnConfig(reduction_factor=4),
    CompacterConfig(reduction_factor=4, phm_dim=2),
]


@pytest.mark.parametrize("method", FORMS, ids=repr)
@pytest.mark.parametrize("options", [*OPTIONS, {"query_before_ln": True}], ids=str)
def test_what_is_multiplied_out_beforehand_changes_nothing(fused, folding, options, method):
    """A fusion that trains works on the members' outputs, one that rests on their matrices."""
    model = fused("bert", StaticAdapterFusionConfig().replace(**options), method).double().eval()
    asked = {**inputs_for(model), "output_adapter_fusion_attentions": True}
    with torch.no_grad():
        folded = model(**asked)
    point, _ = next(modules_of(bank_of(model), "a,b,c"))
    assert point.stacks
    for name in "abc":  # with gradients nothing is multiplied out
        bank_of(model).freeze(name, frozen=False)
    plain = model(**asked)
    assert plain[0].requires_grad
    torch.testing.assert_close(folded[0], plain[0].detach(), atol=1e-9, rtol=1e-9)
    for layer, places in plain["adapter_fusion_attentions"]["a,b,c"].items():
        for place, expected in places.items():
            found = folded["adapter_fusion_attentions"]["a,b,c"][layer][place]
            np.testing.assert_allclose(found, expected, atol=1e-9)


def test_small_fusions_are_left_in_the_plain_order(fused):
    model = fused("bert")
    output_of(model)
    assert not any(point.stacks for point, _ in modules_of(bank_of(model), "a,b,c"))


def test_members_and_fusion_that_change_are_seen_at_once(fused, folding):
    model = fused("bert")
    before = output_of(model)
    assert torch.equal(output_of(model), before)
    for parameters in (bank_of(model).parameters_of("b"), parameters_of(bank_of(model), "a,b,c")):
        with torch.no_grad():
            for parameter in parameters:
                parameter.mul_(1.5)
        after = output_of(model)
        assert not torch.allclose(after, before, atol=1e-4)
        fresh = copy.deepcopy(model)
        assert torch.equal(output_of(fresh), after)
        before = after


def test_dropped_scores_lose_what_all_adapters_have_in_common_too():
    config = DynamicAdapterFusionConfig(dropout_prob=0.5, residual_before=True)
    fusion = AdapterFusion(WIDTH, config).double().train()
    randomise(fusion)
    x, residual, *outputs = torch.randn(2 + MEMBERS, 2, 5, WIDTH, dtype=torch.float64).unbind()
    stacked = torch.stack(outputs, dim=2) + residual[:, :, None]
    scores = (fusion.key(stacked) * fusion.query(x)[:, :, None]).sum(-1)
    torch.manual_seed(7)
    expected = torch.softmax(fusion.dropout(scores), -1)
    torch.manual_seed(7)
    torch.testing.assert_close(fusion(x, outputs, residual).attention, expected)


def test_the_temperature_falls_in_training_only():
    fusion = AdapterFusion(WIDTH, StaticAdapterFusionConfig(temperature=True))
    inputs = torch.randn(1, 2, WIDTH)
    fusion.eval()
    for _ in range(3):
        fusion(inputs, [inputs, inputs], inputs)
    assert fusion.temperature == 50.0
    fusion.train()
    for _ in range(1100):
        fusion(inputs, [inputs, inputs], inputs)
    assert fusion.temperature == 1.0


def test_the_cost_of_projections_does_not_grow_with_the_number_of_adapters():
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415  (one test's tool)

    fusion = AdapterFusion(64, DynamicAdapterFusionConfig()).eval()
    counts = []
    for members in (2, 8):
        x = torch.randn(1, 32, 64)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            fusion(x, [torch.randn(1, 32, 64) for _ in range(members)], x)
        counts.append(counter.get_total_flops())
    per_member = 2 * 2 * 32 * 64  # a score and a share in the mixture, at each of 32 positions
    assert counts[1] - counts[0] == 6 * per_member


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "t5"])
def test_attentions_are_reported_by_fusion_layer_and_location(fused, model_type):
    model = fused(model_type, method=DoubleSeqBnConfig(reduction_factor=4))
    outputs = model(**inputs_for(model), output_adapter_fusion_attentions=True)
    report = outputs["adapter_fusion_attentions"]["a,b,c"]
    assert set(report[0]) == {"mh_adapter", "output_adapter"}
    assert report[0]["output_adapter"].shape == (3, 7, MEMBERS)
    assert "adapter_fusion_attentions" not in model(**inputs_for(model))


@pytest.mark.parametrize("kind", [SeqBnConfig, DoubleSeqBnConfig, ParBnConfig])
def test_a_fusion_of_one_adapter_with_identity_values_is_that_adapter(adapted, kind):
    model = adapted("bert")
    model.add_adapter("a", kind(reduction_factor=4), set_active=True)
    randomise_adapter(model, "a")
    alone = output_of(model)
    model.add_adapter_fusion(["a"], "static", set_active=True)
    torch.testing.assert_close(output_of(model), alone)


def test_a_stack_in_a_fusion_works_on_what_single_members_work_on(adapted):
    model = adapted("bert")
    add_adapters(model, dict.fromkeys("ab", SeqBnConfig(reduction_factor=4)))
    model.add_adapter_fusion(["b"], "static")
    model.set_active_adapters(Fuse(Stack("b")))
    inside = output_of(model)
    model.set_active_adapters(Fuse("b"))
    torch.testing.assert_close(inside, output_of(model))
    model.set_active_adapters(Fuse(Stack("a", "b"), name="b"))
    assert not torch.allclose(output_of(model), inside)


def test_all_members_of_a_fusion_read_what_the_last_one_reads(adapted):
    model = adapted("bert")
    before = {"mh_adapter": False, "original_ln_before": False}
    unlike = DoubleSeqBnConfig(reduction_factor=4).replace(**before)
    add_adapters(model, {"a": unlike, "b": SeqBnConfig(reduction_factor=4)})
    model.add_adapter_fusion("a,b", set_active=True)
    read = {}
    for name in "ab":
        (adapter,) = model.get_adapter(name)[0].values()
        adapter.adapter_down.register_forward_pre_hook(
            lambda _module, args, name=name: read.update({name: args[0]})
        )
    output_of(model)
    assert torch.equal(read["a"], read["b"])


def test_parallel_adapters_can_be_fused(fused):
    model = fused(method=ParBnConfig(reduction_factor=4))
    fused_output = output_of(model)
    model.set_active_adapters(None)
    assert not torch.allclose(output_of(model), fused_output)


def test_a_fusion_stands_where_all_members_do(adapted):
    model = adapted("bert")
    model.add_adapter("a", SeqBnConfig(reduction_factor=4))
    model.add_adapter("b", DoubleSeqBnConfig(reduction_factor=4))
    model.add_adapter_fusion("a,b", set_active=True)
    places = {
        point.site.key for point in bank_of(model).points if "a,b" in getattr(point, "fusions", ())
    }
    assert places == {"output_adapter"}
    randomise_adapter(model, "b")
    output_of(model)  # at the other places the members of the fusion leave the stream alone


def test_layers_left_out_of_one_member_are_fused_without_it(adapted):
    model = adapted("bert")
    model.add_adapter("a", SeqBnConfig(reduction_factor=4, leave_out=[0]))
    model.add_adapter("b", SeqBnConfig(reduction_factor=4))
    model.add_adapter_fusion(["a", "b"], set_active=True)
    report = model(**inputs_for(model), output_adapter_fusion_attentions=True)
    attention = report["adapter_fusion_attentions"]["a,b"]
    assert attention[0]["output_adapter"].shape[-1] == 1
    assert attention[1]["output_adapter"].shape[-1] == 2


def test_what_cannot_be_fused_is_refused(adapted):
    model = adapted("bert")
    model.add_adapter("a", SeqBnConfig(reduction_factor=4))
    model.add_adapter("l", LoRAConfig(r=2))
    with pytest.raises(AdapterNotLoaded, match="'b'"):
        model.add_adapter_fusion(["a", "b"])
    with pytest.raises(ConfigError, match="share no such place"):
        model.add_adapter_fusion(["a", "l"])
    with pytest.raises(FusionNotLoaded, match="no adapter fusion called 'a'"):
        model.set_active_adapters(Fuse("a"))
    model.add_adapter_fusion(["a"])
    with pytest.raises(FusionExists, match="an adapter fusion called 'a' already"):
        model.add_adapter_fusion(["a"])
    model.add_adapter_fusion(["a"], overwrite_ok=True)
    model.delete_adapter_fusion("a")
    with AdapterSetup(Fuse("a")), pytest.raises(FusionNotLoaded):
        output_of(model)
    with pytest.raises(ConfigError, match="no fusion is called 'no'"):
        AdapterFusionConfig.load("no")


def test_only_the_fusion_is_trained_unless_told_otherwise(fused):
    model = fused()
    bank = bank_of(model)
    model.train_adapter_fusion(Fuse("a", "b", "c"))
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in parameters_of(bank, "a,b,c")}
    model.train_adapter_fusion(Fuse("a", "b", "c"), unfreeze_adapters=True)
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in bank.parameters_of("a")} < trained
    model.train_adapter("a")
    assert not any(p.requires_grad for p in parameters_of(bank, "a,b,c"))


def test_training_moves_a_fusion_and_nothing_else(fused):
    model = fused()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.train_adapter_fusion(Fuse("a", "b", "c"))
    model.train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    loss = model(**inputs_for(model))[0].pow(2).mean() + model.get_fusion_regularization_loss()
    loss.backward()
    optimiser.step()
    moved = {
        key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])
    }
    assert moved
    assert all(".fusions." in key for key in moved)


def test_regularisation_pulls_values_to_the_identity(adapted):
    model = adapted("bert")
    model.add_adapter("a", SeqBnConfig(reduction_factor=4))
    assert model.get_fusion_regularization_loss() == 0
    model.add_adapter_fusion(["a"], "dynamic", set_active=True)
    assert model.get_fusion_regularization_loss() < 1e-6
    bank = bank_of(model)
    values = [p for key, p in saved_tensors(bank, "a") if key.endswith("value.weight")]
    with torch.no_grad():
        for value in values:
            value.add_(1.0)
    expected = 0.01 * len(values) * values[0].numel()
    torch.testing.assert_close(model.get_fusion_regularization_loss(), torch.tensor(expected))
    model.add_adapter_fusion(["a"], "static", name="s", set_active=True)
    assert model.get_fusion_regularization_loss() == 0


@pytest.mark.parametrize("config", ["static", "dynamic"])
@pytest.mark.parametrize("model_type", ["bert", "llama", "t5"])
def test_shapes_tells_what_is_saved(fused, model_type, config):
    model = fused(model_type, config, method=DoubleSeqBnConfig(reduction_factor=4))
    tensors = {
        name: tuple(parameter.shape)
        for name, parameter in model.base_model.named_parameters()
        if not name.startswith("adapter_bank.")
    }
    base = BaseDescription(model_type, model.config.to_dict(), tensors)
    members = [DoubleSeqBnConfig(reduction_factor=4)] * 3
    saved = {key: tuple(t.shape) for key, t in saved_tensors(bank_of(model), "a,b,c")}
    expected = expected_fusion_tensors("a,b,c", AdapterFusionConfig.load(config), members, base)
    assert saved == expected


@pytest.mark.parametrize("name", [None, "mixture.v1"])
def test_saving_and_loading_is_exact_and_returns_the_name(fused, adapted, tmp_path, name):
    model = fused(config=StaticAdapterFusionConfig(temperature=True), name=name)
    with torch.no_grad():
        for point in bank_of(model).points:
            for fusion in getattr(point, "fusions", ()):
                point.fusions[fusion].temperature.fill_(3.0)
    model.save_all_adapters(tmp_path)
    fusion = name or "a,b,c"
    model.save_all_adapter_fusions(tmp_path / "fusions")
    other = adapted("bert")
    for adapter in "abc":
        other.load_adapter(tmp_path / adapter)
    source = tmp_path / "fusions" / fusion
    assert other.load_adapter_fusion(source, set_active=True) == fusion
    assert torch.equal(output_of(other), output_of(model))
    assert other.load_adapter_fusion(source, load_as="other") == "other"
    assert json.loads((source / "adapter_fusion_config.json").read_text())["adapter_names"] == list(
        "abc"
    )


def test_a_fusion_that_does_not_fit_leaves_the_model_as_it_was(fused, adapted, tmp_path):
    fused("bert").save_adapter_fusion(tmp_path / "f", "a,b,c")
    model = adapted("llama")
    with pytest.raises(AdapterNotLoaded):
        model.load_adapter_fusion(tmp_path / "f")
    for name in "abc":
        model.add_adapter(name, SeqBnConfig(reduction_factor=4))
    with pytest.raises(TensorMismatch, match="tensors missing"):
        model.load_adapter_fusion(tmp_path / "f")
    assert not bank_of(model).fusions
    with pytest.raises(FormatError, match=r"has no adapter_fusion_config\.json"):
        model.load_adapter_fusion(tmp_path)


@pytest.fixture
def with_head():
    """A model with a fusion and a head that is called like it."""
    model = flexible("bert")
    for name in "ab":
        model.add_adapter(name, SeqBnConfig(reduction_factor=4))
    model.add_adapter_fusion(["a", "b"])
    model.add_tagging_head("a,b")
    return model


def test_a_fusion_with_its_head_is_a_fusion_to_a_hub(with_head, tmp_path):
    with_head.save_adapter_fusion(tmp_path / "f", ["a", "b"], with_head=True)
    document = json.loads((tmp_path / "f" / "hub_adapter.json").read_text())
    assert (document["kind"], list(document["requires"])) == ("fusion", ["a", "b"])
    with pytest.raises(HeadNotFound):
        with_head.save_adapter_fusion(tmp_path / "g", ["a", "b"], with_head="none")
    assert not (tmp_path / "g").exists()
    with_head.save_adapter_fusion(tmp_path / "f", ["a", "b"])
    assert not list((tmp_path / "f").glob("*head*"))


def test_a_fusion_is_loaded_with_its_head_or_not_at_all(with_head, tmp_path):
    with_head.save_adapter_fusion(tmp_path, ["a", "b"], with_head=True)
    (tmp_path / "model_head.safetensors").write_bytes(b"cut")
    with_head.delete_adapter_fusion(["a", "b"])
    with pytest.raises(FormatError, match="cannot be read"):
        with_head.load_adapter_fusion(tmp_path)
    assert not bank_of(with_head).fusions
    assert with_head.load_adapter_fusion(tmp_path, with_head=False) == "a,b"


def test_a_fusion_of_one_adapter_leaves_what_is_said_of_that(adapted, tmp_path):
    """The two have one name, and so one folder."""
    model = adapted("bert")
    model.add_adapter("a", SeqBnConfig(reduction_factor=4))
    model.describe_adapter("a", kind="language", languages=["de"])
    model.add_adapter_fusion(["a"])
    model.save_adapter_setup(tmp_path, Fuse("a"))
    other = adapted("bert")
    other.load_adapter_setup(tmp_path)
    assert bank_of(other).info["a"].languages == ("de",)
    assert list(bank_of(other).fusions) == ["a"]


def test_a_copy_of_the_model_fuses_on_its_own(fused):
    model = fused()
    expected = output_of(model)
    other = copy.deepcopy(model)
    assert torch.equal(output_of(other), expected)
    model.delete_adapter_fusion(["a", "b", "c"])
    assert torch.equal(output_of(other), expected)
    assert model.active_adapters is None


def test_a_set_up_is_saved_with_its_fusion_and_loaded_in_one_call(fused, adapted, tmp_path):
    model = fused()
    model.add_adapter("lang", SeqBnConfig(reduction_factor=4))
    randomise_adapter(model, "lang", seed=9)
    setup = Stack("lang", Fuse("a", "b", "c"))
    model.set_active_adapters(setup)
    model.save_adapter_setup(tmp_path / "setup", setup)
    other = adapted("bert")
    assert other.load_adapter_setup(tmp_path / "setup", set_active=True) == (setup, None)
    assert torch.equal(output_of(other), output_of(model))
    with pytest.raises(AdapterNotLoaded):
        model.save_adapter_setup(tmp_path / "none", "missing")
    assert not (tmp_path / "none").exists()
    (tmp_path / "setup" / "a,b,c" / "model_adapter_fusion.safetensors").unlink()
    third = adapted("bert")
    with pytest.raises(FormatError, match="has no weights"):
        third.load_adapter_setup(tmp_path / "setup")
    assert not third.has_adapters()


def test_a_stack_is_mixed_as_its_last_adapter(adapted):
    """What stands below in it has places of its own, and limits those of the fusion in nothing."""
    model = adapted("bert")
    model.add_adapter("a", "double_seq_bn[reduction_factor=4]")
    model.add_adapter("below", "seq_bn[reduction_factor=4]")
    model.add_adapter("b", "double_seq_bn[reduction_factor=4]")
    model.add_adapter_fusion(Fuse("a", Stack("below", "b")))
    with AdapterSetup(Fuse("a", Stack("below", "b"))):
        mixed = output_of(model)
    with AdapterSetup("a"):
        assert not torch.equal(mixed, output_of(model))
