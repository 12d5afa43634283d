"""A set-up in a folder is loaded as one, and a slot is swapped only for what fits."""

import json

import pytest
import torch

from adapters_runtime import AutoAdapterModel, EmbeddingRowsConfig, Stack, load_setup, swap_slot
from adapters_runtime.configs import ConfigUnion, SeqBnInvConfig
from adapters_runtime.errors import BaseMismatch, ContractError, FormatError, TensorMismatch
from adapters_runtime.identity import base_identity
from tests.support.running import inputs_for, randomise, randomise_adapter

PACK = SeqBnInvConfig(reduction_factor=4)
ROWS = EmbeddingRowsConfig(token_ids=tuple(range(4, 30)))


@pytest.fixture
def fresh(bare_models):
    """Return a function that gives models with flexible heads over one base."""

    def get():
        model = AutoAdapterModel.from_config(bare_models("bert").config)
        model.base_model.load_state_dict(bare_models("bert").state_dict())
        return model.eval()

    return get


@pytest.fixture
def saved(fresh, tmp_path):
    """Save `en`, `de` (with rows), `lora` and a task stacked on English, and return the outputs."""
    model = fresh()
    configs = {"en": PACK, "de": ConfigUnion(PACK, ROWS), "lora": "lora[r=2]"}
    for seed, (name, config) in enumerate(configs.items()):
        model.add_adapter(name, config)
        randomise_adapter(model, name, seed=seed)
        model.describe_adapter(name, kind="language", languages=[name[:2]])
        model.save_adapter(tmp_path / name, name, with_head=False)
    model.add_adapter("ner", "seq_bn[reduction_factor=4]")
    randomise_adapter(model, "ner", seed=9)
    model.add_tagging_head("ner", num_labels=3)
    model.describe_adapter("ner", kind="task", languages=["en"])
    model.train_adapter("ner")
    model.set_active_adapters(Stack("en", "ner"))
    model.save_adapter(tmp_path / "task", "ner")
    return {language: logits(model, Stack(language, "ner")) for language in ("en", "de")}


@torch.no_grad()
def logits(model, setup=None):
    if setup is not None:
        model.set_active_adapters(setup)
    return model.eval()(**inputs_for(model)).logits


@pytest.fixture
def setup_folder(saved, tmp_path):
    """The folder that `hubctl pull` writes for Stack(lang, task) in English."""
    folder = tmp_path / "setup"
    folder.mkdir()
    (tmp_path / "en").rename(folder / "lang")
    (tmp_path / "task").rename(folder / "task")
    (folder / "adapter_setup.json").write_text(
        json.dumps({"adapter_setup": Stack("lang", "task").to_dict(), "head_setup": None})
    )
    return folder


def write_lock(folder, model, **base):
    identity = {**base_identity(model).as_dict(), **base}
    slot = {"ref": "lab/x@1.0.0", "content": "sha256:" + 64 * "0", "load": {"leave_out": [1]}}
    lock = {"base": identity, "slots": {"lang": slot, "task": {}}, "head": "task"}
    (folder / "hub_lock.json").write_text(json.dumps(lock))


def test_a_set_up_is_loaded_as_one(fresh, saved, setup_folder):
    model = fresh()
    assert load_setup(model, setup_folder) == Stack("lang", "task")
    assert model.active_head == "task"
    assert torch.equal(logits(model), saved["en"])


def test_a_slot_is_swapped_and_nothing_else(fresh, saved, setup_folder, tmp_path):
    model = fresh()
    load_setup(model, setup_folder)
    swap_slot(model, "lang", tmp_path / "de")
    assert torch.equal(logits(model), saved["de"])
    swap_slot(model, "lang", setup_folder / "lang")
    assert torch.equal(logits(model), saved["en"])


def test_a_swap_that_breaks_the_contract_is_refused_with_reasons(
    fresh, saved, setup_folder, tmp_path
):
    model = fresh()
    load_setup(model, setup_folder)
    with pytest.raises(ContractError, match="its method is lora, in training it was seq_bn"):
        swap_slot(model, "lang", tmp_path / "lora")
    assert torch.equal(logits(model), saved["en"])


def test_layers_that_the_lock_leaves_out_stay_empty(fresh, setup_folder):
    model = fresh()
    write_lock(setup_folder, model)
    load_setup(model, setup_folder)
    assert set(model.get_adapter("lang")) == {-1, 0}


def test_a_lock_for_another_base_is_refused(fresh, setup_folder):
    model = fresh()
    write_lock(setup_folder, model)
    randomise(model.base_model)
    with pytest.raises(BaseMismatch, match="body"):
        load_setup(model, setup_folder)
    assert model.adapters_config == {}


def test_a_folder_that_is_not_what_the_lock_names_is_refused(fresh, setup_folder):
    model = fresh()
    write_lock(setup_folder, model)
    (setup_folder / "lang" / "hub_origin.json").write_text('{"content": "sha256:1"}')
    with pytest.raises(ContractError, match=r"the lock names lab/x@1\.0\.0"):
        load_setup(model, setup_folder)


def test_all_adapters_of_a_set_up_are_loaded_or_none(fresh, setup_folder):
    weights = setup_folder / "task" / "adapter.safetensors"
    weights.write_bytes((setup_folder / "lang" / "adapter.safetensors").read_bytes())
    model = fresh()
    with pytest.raises(TensorMismatch):
        load_setup(model, setup_folder)
    assert model.adapters_config == {}


@pytest.mark.parametrize(
    "lock",
    [{"slots": {}}, {"base": None}, {"base": {}, "slots": [1]}, {"base": {}, "slots": {"lang": 1}}],
)
def test_a_lock_that_is_none_is_refused(fresh, setup_folder, lock):
    (setup_folder / "hub_lock.json").write_text(json.dumps(lock))
    model = fresh()
    with pytest.raises(FormatError, match=r"hub_lock\.json"):
        load_setup(model, setup_folder)
    assert not model.has_adapters()


@pytest.mark.parametrize("lock", [False, True])
def test_a_slot_does_not_lead_out_of_the_folder(fresh, setup_folder, lock):
    """Documents and locks may be of others."""
    outside = setup_folder / "lang"
    outside = outside.rename(setup_folder.parent / "outside")
    if lock:
        slots = {"../outside": {}}
        (setup_folder / "hub_lock.json").write_text(json.dumps({"base": {}, "slots": slots}))
    path = setup_folder / "adapter_setup.json"
    path.write_text(path.read_text().replace('"lang"', '"../outside"'))
    with pytest.raises(FormatError, match="names no folder"):
        load_setup(fresh(), setup_folder)


def test_heads_that_have_no_names_are_refused_before_anything_is_loaded(fresh, setup_folder):
    path = setup_folder / "adapter_setup.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"head_setup": 5}))
    model = fresh()
    with pytest.raises(FormatError, match="`head_setup` cannot be 5"):
        load_setup(model, setup_folder)
    assert not model.has_adapters()


def test_a_folder_without_a_set_up_is_refused(fresh, tmp_path):
    with pytest.raises(FormatError, match=r"adapter_setup\.json"):
        load_setup(fresh(), tmp_path)
