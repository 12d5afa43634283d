"""What the methods of AdapterHub's surface do, where no other test calls them."""

import json
from pathlib import Path

import pytest
import torch

from adapters_runtime import Fuse, Stack
from adapters_runtime.errors import AdapterExists, ConfigError, FormatError, FusionNotLoaded
from adapters_runtime.inject.bank import bank_of
from tests.support.running import add_adapters, output_of

UNION = "mam[prefix_length=3]"


@pytest.fixture
def with_adapters(adapted):
    """Return a function that gives a tiny model with adapters of these configurations."""

    def get(model_type, configs):
        model = adapted(model_type)
        add_adapters(model, configs)
        return model

    return get


# --- replacing


@pytest.mark.parametrize("config", ["nothing", "lora[r=-1]", "compacter[phm_dim=5]"])
def test_an_adapter_is_not_lost_for_one_that_cannot_be_built(with_adapters, config):
    model = with_adapters("bert", {"a": "lora"})
    model.set_active_adapters("a")
    before = output_of(model)
    with pytest.raises(ConfigError):
        model.add_adapter("a", config, overwrite_ok=True)
    assert torch.equal(output_of(model), before)
    model.add_adapter("a", "seq_bn", overwrite_ok=True)
    assert model.adapters_config["a"].architecture is None
    assert list(model.adapters_config) == ["a"]


def test_a_fusion_is_not_lost_for_one_that_cannot_be_built(with_adapters):
    model = with_adapters("bert", {"a": "seq_bn", "b": "seq_bn", "c": "lora"})
    model.add_adapter_fusion(Fuse("a", "b", name="f"), set_active=True)
    before = output_of(model)
    with pytest.raises(ConfigError, match="share no such place"):
        model.add_adapter_fusion(["a", "c"], name="f", overwrite_ok=True)
    assert torch.equal(output_of(model), before)
    model.add_adapter_fusion(["b", "a"], name="f", overwrite_ok=True)
    assert bank_of(model).fusions["f"].members == ("b", "a")


def test_a_refused_average_leaves_nothing_behind(with_adapters):
    model = with_adapters("bert", {"a": "lora", "b": "lora"})
    for _ in range(2):
        with pytest.raises(AdapterExists):
            model.average_adapter("b", ["a", "b"])
    assert list(model.adapters_config) == ["a", "b"]
    model.average_adapter("b", ["a", "b"], overwrite_ok=True)


# --- folders


NAMES = ("a", "b/c", "d.e@x")


def test_all_adapters_are_saved_and_loaded(with_adapters, tmp_path):
    model = with_adapters("bert", dict.fromkeys(NAMES, UNION))
    model.save_all_adapters(tmp_path, meta_dict={"noted": 1})
    other = with_adapters("bert", {})
    for name in NAMES:
        assert other.load_adapter(tmp_path / name, set_active=True) == name
        model.set_active_adapters(name)
        assert torch.equal(output_of(other), output_of(model))
    assert '"noted": 1' in (tmp_path / "a" / "adapter_config.json").read_text()


@pytest.mark.parametrize("name", ["../out", "..", "x/../../out", "/out", "x//y"])
def test_a_name_does_not_lead_out_of_the_folder(with_adapters, tmp_path, name):
    """Names come with the files of others."""
    model = with_adapters("bert", {"good": "seq_bn", name: "seq_bn"})
    model.add_adapter_fusion(Fuse("good", name, name="f"))
    inside = tmp_path / "in"
    for save in (
        lambda: model.save_all_adapters(inside),
        lambda: model.save_adapter_setup(inside, Stack("good", name)),
    ):
        with pytest.raises(FormatError, match="save it alone"):
            save()
    assert not list(tmp_path.iterdir())
    model.save_pretrained(inside)
    assert {path.parent for path in tmp_path.rglob("adapter_config.json")} >= {
        inside / "adapters" / "good"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_set_up_does_not_read_outside_of_its_folder(with_adapters, tmp_path):
    model = with_adapters("bert", {"a": "lora", "b": "lora"})
    model.save_adapter(tmp_path / "out", "a")
    model.save_adapter_setup(tmp_path / "in", Stack("a", "b"))
    document = tmp_path / "in" / "adapter_setup.json"
    document.write_text(document.read_text().replace('"a"', '"../out"'))
    with pytest.raises(FormatError, match="names no folder"):
        with_adapters("bert", {}).load_adapter_setup(tmp_path / "in")


class Notes:
    """Keeps a text beside an adapter, as users' own loaders keep what they like."""

    def __init__(self):
        self.calls = []

    def save(self, save_directory, name):
        self.calls.append(("save", name))
        Path(save_directory, "notes.txt").write_text(name)

    def load(self, save_directory, load_as=None, **facts):
        text = Path(save_directory, "notes.txt").read_text()
        self.calls.append(("load", text, load_as, facts["main_load_name"]))


def test_users_loaders_write_and_read_beside_adapters(with_adapters, tmp_path):
    model = with_adapters("bert", {"a": "seq_bn", "b": "seq_bn"})
    model.add_adapter_fusion(Fuse("a", "b"))
    notes = Notes()
    more = {"custom_weights_loaders": [notes]}
    model.save_adapter(tmp_path / "a", "a", **more)
    model.load_adapter(tmp_path / "a", load_as="c", **more)
    model.save_adapter_fusion(tmp_path / "f", Fuse("a", "b"), **more)
    model.load_adapter_fusion(tmp_path / "f", **more)
    model.save_adapter_setup(tmp_path / "s", Stack("a", "b"), **more)
    model.load_adapter_setup(tmp_path / "s", **more)
    model.delete_adapter("c")
    model.save_all_adapters(tmp_path / "all", **more)
    model.save_all_adapter_fusions(tmp_path / "all", **more)
    both = [("save", "a"), ("save", "b")]
    assert notes.calls == [
        *[("save", "a"), ("load", "a", "c", "c")],
        *[("save", "a,b"), ("load", "a,b", None, "a,b")],
        *[*both, ("load", "a", "a", "a"), ("load", "b", "b", "b")],
        *[*both, ("save", "a,b")],
    ]


# --- moving


@pytest.mark.parametrize("config", ["seq_bn_inv", UNION, "lora", "mtl_lora", "vera", "loreft"])
def test_an_adapter_moves_alone(with_adapters, config):
    model = with_adapters("bert", {"a": config, "b": config})
    model.set_active_adapters("a")
    before = output_of(model)
    model.adapter_to("b", device="meta")
    model.adapter_to("a", dtype=torch.float64)
    bank = bank_of(model)
    assert {p.dtype for p in bank.parameters_of("a")} == {torch.float64}
    assert {t.device.type for _, t in bank.saved_tensors("b")} == {"meta"}
    model.adapter_to("a", dtype=torch.float32)
    assert torch.equal(output_of(model), before)
    model.double()
    torch.testing.assert_close(output_of(model), before.double(), atol=1e-5, rtol=1e-4)


def test_a_fusion_moves_alone(with_adapters):
    model = with_adapters("bert", {"a": "seq_bn", "b": "seq_bn"})
    model.add_adapter_fusion(Fuse("a", "b"), set_active=True)
    before = output_of(model)
    model.adapter_fusion_to(Fuse("a", "b"), dtype=torch.float64)
    kinds = {name: p.dtype for name, p in model.named_parameters() if "adapter_bank" in name}
    for name, kind in kinds.items():
        assert kind == (torch.float64 if "fusion" in name else torch.float32), name
    model.adapter_fusion_to("a,b", dtype=torch.float32)
    assert torch.equal(output_of(model), before)
    with pytest.raises(FusionNotLoaded):
        model.adapter_fusion_to("a,c", dtype=torch.float32)


# --- what a model is made of

SELF = "encoder.layer.{}.attention.self"
MADE_OF = {
    "bert": (
        ["encoder.layer.0", "encoder.layer.1"],
        [("self", SELF.format(0)), ("self", SELF.format(1))],
        [
            (kind, f"encoder.layer.{layer}.{kind}.dense")
            for layer in (0, 1)
            for kind in ("intermediate", "output")
        ],
    ),
    "gpt2": (
        ["h.0", "h.1"],
        [("self", "h.0.attn"), ("self", "h.1.attn")],
        [
            (kind, f"h.{layer}.mlp.{name}")
            for layer in (0, 1)
            for kind, name in (("intermediate", "c_fc"), ("output", "c_proj"))
        ],
    ),
}


@pytest.mark.parametrize(("model_type", "expected"), MADE_OF.items())
def test_layers_attentions_and_projections_are_gone_through_in_order(adapted, model_type, expected):
    model = adapted(model_type)
    names = {module: name for name, module in model.named_modules()}
    layers, attentions, projections = expected
    assert [names[layer] for _, layer in model.iter_layers()] == layers
    assert [number for number, _ in model.iter_layers()] == [0, 1]
    assert [(kind, names[module]) for _, kind, module in model.iter_attentions()] == attentions
    assert [(kind, names[module]) for _, kind, module in model.iter_layer_ffns()] == projections
    assert names[model.get_layer(1)] == layers[1]
    with pytest.raises(IndexError):
        model.get_layer(2)


def test_a_decoder_goes_on_where_its_encoder_ends(adapted):
    model = adapted("t5")
    names = {module: name for name, module in model.named_modules()}
    encoder = model.config.num_layers
    found = [(number, kind, names[module]) for number, kind, module in model.iter_attentions()]
    assert found[:encoder] == [
        (layer, "self", f"encoder.block.{layer}.layer.0.SelfAttention") for layer in range(encoder)
    ]
    assert found[encoder : encoder + 2] == [
        (encoder, "self", "decoder.block.0.layer.0.SelfAttention"),
        (encoder, "cross", "decoder.block.0.layer.1.EncDecAttention"),
    ]
    assert names[model.get_layer(encoder)] == "decoder.block.0"


def test_a_function_is_applied_wherever_adapters_stand(with_adapters):
    model = with_adapters("bert", {"a": "lora[attn_matrices=['q','k']]"})
    seen = []
    model.apply_to_adapter_layers(
        lambda layer, place: seen.append((layer, type(place).__name__, "a" in place.adapters))
    )
    assert [layer for layer, _, holds in seen if holds] == [0, 0, 1, 1]
    assert {name for _, name, holds in seen if holds} == {"LinearPoint"}


# --- invertible parts


def test_invertible_parts_can_be_asked_added_and_removed_alone(with_adapters):
    model = with_adapters("bert", {"a": "seq_bn_inv", "b": "seq_bn"})
    model.set_active_adapters("a")
    stream = torch.randn(2, 3, model.config.hidden_size)
    there = model.invertible_adapters_forward(stream)
    assert not torch.allclose(there, stream, atol=0.1)
    torch.testing.assert_close(
        model.invertible_adapters_forward(there, rev=True), stream, atol=1e-5, rtol=1e-4
    )
    assert model.get_invertible_adapter() is model.invertible_adapters["a"]
    model.enable_invertible_adapters(["a", "b"])
    assert all(p.requires_grad for p in model.invertible_adapters["a"].parameters())
    model.set_active_adapters(Stack("b", "a"))  # the first of a stack counts
    assert torch.equal(model.invertible_adapters_forward(stream), stream)
    assert model.get_invertible_adapter() is None
    model.set_active_adapters("a")
    model.delete_invertible_adapter("a")
    assert torch.equal(model.invertible_adapters_forward(stream), stream)
    model.add_invertible_adapter("a")
    assert list(model.invertible_adapters) == ["a"]
    assert not any(p.requires_grad for p in model.invertible_adapters["a"].parameters())
    with pytest.raises(ConfigError, match="names no inv_adapter"):
        model.add_invertible_adapter("b")


@pytest.mark.parametrize("config", ["seq_bn_inv", "seq_bn_inv|lora[r=2]"])
def test_what_is_saved_without_its_invertible_part_loads(with_adapters, adapted, tmp_path, config):
    model = with_adapters("bert", {"a": config})
    model.delete_invertible_adapter("a")
    model.save_adapter(tmp_path, "a")
    model.set_active_adapters("a")
    other = adapted("bert")
    other.load_adapter(tmp_path, set_active=True)
    assert torch.equal(output_of(other), output_of(model))
    described = json.loads((tmp_path / "hub_adapter.json").read_text())
    assert described["signature"]["invertible"] is None


# --- training


def test_freezing_a_model_leaves_its_adapters_as_they_are(with_adapters):
    model = with_adapters("bert", {"a": "seq_bn"})
    model.train_adapter("a")
    model.freeze_model(False)
    assert all(p.requires_grad for p in model.parameters())
    model.freeze_model()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if "adapter_bank" in name}


def test_a_fusion_within_a_stack_is_trained_alone(with_adapters):
    model = with_adapters("bert", dict.fromkeys("abl", "seq_bn"))
    setup = Stack("l", Fuse("a", "b"))
    with pytest.raises(FusionNotLoaded):
        model.train_adapter_fusion(setup)
    model.add_adapter_fusion(["a", "b"])
    model.train_adapter_fusion(setup)
    assert model.active_adapters == setup
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("fusion" in name for name in trained)
