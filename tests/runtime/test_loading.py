"""Loading is strict: what does not fit is refused by name, and the model stays as it was."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapters_runtime.errors import (
    AdapterNotLoaded,
    BaseMismatch,
    ConfigError,
    FormatError,
    MergeStateError,
    TensorMismatch,
)
from adapters_runtime.identity import base_identity
from adapters_runtime.inject.bank import bank_of
from tests.support.running import output_of, randomise, randomise_adapter


@pytest.fixture
def saved(adapted, tmp_path):
    """Return (model type's maker, folder of a seq_bn adapter called `a` on BERT)."""
    model = adapted("bert")
    model.add_adapter("a", "seq_bn[reduction_factor=4]")
    randomise_adapter(model, "a")
    model.save_adapter(tmp_path / "a", "a")
    return tmp_path / "a"


def rewrite(folder, change):
    path = folder / "adapter.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def key_of(folder):
    return min(load_file(folder / "adapter.safetensors"))


def test_a_missing_tensor_is_named(adapted, saved):
    key = key_of(saved)
    rewrite(saved, lambda tensors: tensors.pop(key))
    with pytest.raises(TensorMismatch, match=r"1 tensor missing: encoder\.layer\.0"):
        adapted("bert").load_adapter(saved)


def test_an_unexpected_tensor_is_named(adapted, saved):
    rewrite(saved, lambda tensors: tensors.update({"stray.weight": torch.zeros(2)}))
    with pytest.raises(TensorMismatch, match=r"1 tensor unexpected: stray\.weight"):
        adapted("bert").load_adapter(saved)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(adapted, saved):
    key = key_of(saved)
    rewrite(saved, lambda tensors: tensors.update({key: torch.zeros(3)}))
    with pytest.raises(TensorMismatch, match=r"is \[3\] and should be \[4\]"):
        adapted("bert").load_adapter(saved)


def test_a_refused_adapter_leaves_the_model_as_it_was(adapted, saved):
    model = adapted("bert")
    model.load_adapter(saved, set_active=True)
    before = output_of(model)
    key = key_of(saved)
    rewrite(saved, lambda tensors: tensors.pop(key))
    with pytest.raises(TensorMismatch):
        model.load_adapter(saved)
    assert list(model.adapters_config) == ["a"]
    assert torch.equal(output_of(model), before)


@pytest.mark.parametrize(("config", "layers"), [("seq_bn", [-1]), ("prompt_tuning", [0])])
def test_layers_that_cannot_be_left_out_leave_nothing_behind(adapted, tmp_path, config, layers):
    model = adapted("bert")
    model.add_adapter("a", config)
    model.save_adapter(tmp_path, "a")
    other = adapted("bert")
    with pytest.raises(ConfigError, match="leave_out"):
        other.load_adapter(tmp_path, leave_out=layers)
    assert not other.has_adapters()


def test_a_base_of_another_structure_is_refused(adapted, saved):
    with pytest.raises(BaseMismatch, match="structure"):
        adapted("distilbert").load_adapter(saved)


@pytest.fixture
def other_base(adapted):
    """Return a model of BERT's structure and other weights, as RoBERTa is one."""
    model = adapted("roberta")
    randomise(model)
    return model


def test_a_base_of_the_same_structure_and_other_weights_is_refused(other_base, saved):
    with pytest.raises(BaseMismatch, match="body"):
        other_base.load_adapter(saved)


def test_a_base_mismatch_can_be_allowed(other_base, saved):
    assert other_base.load_adapter(saved, allow_base_mismatch=True) == "a"


def test_a_cast_of_the_base_is_the_same_base(adapted, saved):
    model = adapted("bert").to(torch.bfloat16)
    assert model.load_adapter(saved, set_active=True) == "a"
    assert next(bank_of(model).parameters_of("a")).dtype == torch.bfloat16


def test_a_folder_without_an_adapter_is_refused(adapted, tmp_path):
    with pytest.raises(FormatError, match=r"is not an adapter's folder: it has no adapter_config"):
        adapted("bert").load_adapter(tmp_path)


def test_truncated_weights_are_refused(adapted, saved):
    path = saved / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="cannot be read"):
        adapted("bert").load_adapter(saved)


class Executed:
    """What a hostile pickle would run."""

    def __reduce__(self):
        return (open, ("/nonexistent/executed", "w"))


WRONG = [
    ("hub_adapter.json", {"base": "bert"}),
    ("hub_adapter.json", {"signature": []}),
    ("hub_adapter.json", {"languages": 5}),
    ("hub_adapter.json", {"datasets": "squad"}),
    ("hub_adapter.json", {"requires": []}),
    ("hub_adapter.json", {"requires": {"lang": {"drop_layers": []}}}),
    ("hub_base.json", {"aliases": [1]}),
    ("hub_base.json", {"aliases": None}),
]


@pytest.mark.parametrize(("file", "fields"), WRONG)
def test_a_document_with_a_wrong_field_leaves_nothing_behind(adapted, saved, file, fields):
    path = saved / file
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    model = adapted("bert")
    with pytest.raises(FormatError, match=rf"{next(iter(fields))}. (has for .* )?cannot be"):
        model.load_adapter(saved)
    assert not model.has_adapters()


@pytest.mark.parametrize("change", ["to_sparse", "int", "cfloat"])
def test_tensors_that_are_no_weights_are_refused(adapted, saved, change):
    tensors = load_file(saved / "adapter.safetensors")
    (saved / "adapter.safetensors").unlink()
    changed = {key: getattr(tensor, change)() for key, tensor in tensors.items()}
    torch.save(changed, saved / "pytorch_adapter.bin")
    model = adapted("bert")
    with pytest.raises(FormatError, match="holds no weights, but torch"):
        model.load_adapter(saved)
    torch.save({0: torch.zeros(1)}, saved / "pytorch_adapter.bin")
    with pytest.raises(FormatError, match="something else than a dictionary"):
        model.load_adapter(saved)
    assert not model.has_adapters()


def test_a_pickle_that_runs_code_is_refused(adapted, saved):
    (saved / "adapter.safetensors").unlink()
    (saved / "pytorch_adapter.bin").write_bytes(pickle.dumps(Executed(), protocol=2))
    with pytest.raises(FormatError, match="cannot be read"):
        adapted("bert").load_adapter(saved)


def test_a_file_without_json_is_refused(adapted, saved):
    (saved / "adapter_config.json").write_text("{")
    with pytest.raises(FormatError, match="cannot be read"):
        adapted("bert").load_adapter(saved)


def test_activating_an_unknown_adapter_keeps_the_former_set_up(adapted, saved):
    model = adapted("bert")
    model.load_adapter(saved, set_active=True)
    with pytest.raises(AdapterNotLoaded, match=r"no adapter called 'b' \(it has: 'a'\)"):
        model.set_active_adapters("b")
    assert model.active_adapters.flatten() == ("a",)


@pytest.mark.parametrize("name", ["en/wiki@ukp", "v1.2", "forward", "keys", "ü ö", "a,b"])
def test_an_adapter_may_have_any_name(adapted, tmp_path, name):
    model = adapted("bert")
    model.add_adapter(name, "seq_bn", set_active=True)
    randomise_adapter(model, name)
    model.save_adapter(tmp_path / "x", name)
    other = adapted("bert")
    assert other.load_adapter(tmp_path / "x", set_active=True) == name
    assert torch.equal(output_of(other), output_of(model))


def test_saving_twice_gives_the_same_bytes(adapted, saved, tmp_path):
    model = adapted("bert")
    model.load_adapter(saved)
    for target in ("one", "two"):
        model.save_adapter(tmp_path / target, "a")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_saving_without_a_head_removes_the_head_of_an_earlier_save(bare_models, tmp_path):
    from adapters_runtime import AutoAdapterModel  # noqa: PLC0415

    model = AutoAdapterModel.from_config(bare_models("bert").config)
    model.add_adapter("a", "seq_bn")
    model.add_classification_head("a", num_labels=3)
    model.save_adapter(tmp_path / "a", "a")
    assert (tmp_path / "a" / "model_head.safetensors").is_file()
    model.save_adapter(tmp_path / "a", "a", with_head=False)
    assert not (tmp_path / "a" / "model_head.safetensors").exists()


def test_the_contract_names_the_partner_of_training(adapted, tmp_path):
    model = adapted("bert")
    model.add_adapter("en", "seq_bn_inv[reduction_factor=4]")
    model.describe_adapter("en", kind="language", languages=["en"], series="s")
    model.add_adapter("ner", "seq_bn[reduction_factor=4]")
    model.describe_adapter("ner", kind="task", datasets=[("conll2003", None, "train")])
    model.train_adapter("ner")
    from adapters_runtime import Stack  # noqa: PLC0415

    model.set_active_adapters(Stack("en", "ner"))
    model.save_adapter(tmp_path / "ner", "ner")
    document = json.loads((tmp_path / "ner" / "hub_adapter.json").read_text())
    assert document["setup"] == {"Stack": ["lang", "task"]}
    assert document["signature"]["slot"] == "task"
    required = document["requires"]["lang"]
    assert required["signature"] == {
        "slot": "lang",
        "method": "seq_bn",
        "layers": [0, 1],
        "points": ["output"],
        "invertible": "nice",
        "rows": False,
        "language": "en",
        "series": "s",
    }


def test_the_base_is_known_by_what_it_holds(adapted, other_base):
    bert, roberta = base_identity(adapted("bert")), base_identity(other_base)
    assert bert.structure == roberta.structure
    assert bert.body != roberta.body
    again = base_identity(adapted("bert"))
    assert again == bert


def test_a_merged_base_is_not_identified(adapted):
    model = adapted("bert")
    model.add_adapter("a", "lora")
    model.merge_adapter("a")
    with pytest.raises(MergeStateError, match="reset_adapter"):
        base_identity(model)
