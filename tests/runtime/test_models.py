"""Models with adapters stay what they were: copied, pickled, saved, trained."""

import copy
import pickle

import pytest
import torch
from torch.utils.data import Dataset
from transformers import AutoConfig, AutoModel, TrainingArguments

from adapters_runtime import AdapterTrainer, AutoAdapterModel, EmbeddingRowsConfig, Stack, init
from adapters_runtime.errors import ConfigError, HeadExists, HeadNotFound, UnsupportedArchitecture
from tests.support.running import add_adapters, inputs_for, output_of, randomise_adapter


@pytest.fixture
def model(adapted):
    model = adapted("bert")
    model.add_adapter("a", "double_seq_bn_inv[reduction_factor=4]|lora[r=2]", set_active=True)
    randomise_adapter(model, "a")
    return model


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_equal_and_independent(model, copied):
    other = copied(model)
    expected = output_of(model)
    assert type(other) is type(model)
    assert torch.equal(output_of(other), expected)
    other.delete_adapter("a")
    assert torch.equal(output_of(model), expected)
    assert not torch.equal(output_of(other), expected)


def test_the_class_keeps_its_name_and_ancestors(bare_models):
    model = bare_models("bert")
    plain = type(model)
    init(model)
    assert isinstance(model, plain)
    assert type(model).__name__ == plain.__name__
    init(model)  # a second time changes nothing
    assert isinstance(model, plain)


def test_a_model_is_given_all_the_adapters_it_is_to_have_or_stays_as_it_is(bare_models):
    model = bare_models("bert")
    plain = type(model)
    with pytest.raises(ConfigError, match="no configuration is called 'seq_nb'"):
        init(model, {"a": "seq_bn", "b": "seq_nb"})
    assert type(model) is plain
    init(model, {"a": "seq_bn", "b": "lora"})
    assert list(model.adapters_config) == ["a", "b"]


def test_a_saved_base_holds_no_adapter(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    model.set_active_adapters(None)
    assert torch.equal(output_of(again), output_of(model))
    assert not any("adapter" in key for key in again.state_dict())
    from safetensors import safe_open  # noqa: PLC0415

    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert not [key for key in file.keys() if "adapter" in key]  # noqa: SIM118


def test_an_unknown_model_type_says_how_to_write_a_specification():
    fields = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
    model = AutoModel.from_config(AutoConfig.for_model("mamba", **fields))
    with pytest.raises(UnsupportedArchitecture, match="Architecture"):
        init(model)


def test_the_summary_counts_parameters(model):
    rows = {row["name"]: row for row in model.adapter_summary(as_dict=True)}
    count = sum(p.numel() for n, p in model.named_parameters() if "adapter_bank" in n)
    assert rows["a"]["#param"] == count
    assert rows["a"]["active"]
    assert not rows["a"]["train"]
    assert "Full model" in model.adapter_summary()


def test_modules_of_an_adapter_are_found_by_layer_and_place(model):
    found = model.get_adapter("a")
    assert set(found) == {-1, 0, 1}
    assert {"mh_adapter", "output_adapter", "selfattn_lora_q"} <= set(found[0])


def test_layers_can_be_skipped(model):
    model.set_active_adapters("a", skip_layers=[0, 1])
    skipped = output_of(model)
    model.set_active_adapters(None)
    # What belongs to no layer, the invertible part, still works.
    assert not torch.equal(output_of(model), skipped)


def test_rows_of_another_language_are_put_back(adapted):
    model = adapted("bert")
    ids = tuple(range(4, 32))
    before = output_of(model)
    add_adapters(model, dict.fromkeys(("de", "fr"), EmbeddingRowsConfig(token_ids=ids)))
    model.add_adapter("task", "seq_bn")
    model.set_active_adapters(Stack("de", "task"))
    german = output_of(model)
    model.set_active_adapters(Stack("fr", "task"))
    assert not torch.equal(output_of(model), german)
    model.set_active_adapters(Stack("de", "task"))
    assert torch.equal(output_of(model), german)
    model.set_active_adapters(None)
    assert torch.equal(output_of(model), before)


# --- heads


@pytest.fixture
def flexible(bare_models):
    return AutoAdapterModel.from_config(bare_models("bert").config)


def test_heads_are_added_switched_and_deleted(flexible):
    flexible.add_classification_head("c", num_labels=3, id2label={0: "x", 1: "y", 2: "z"})
    flexible.add_tagging_head("t", num_labels=5)
    flexible.add_masked_lm_head("m")
    widths = {}
    for name in flexible.heads:
        flexible.active_head = name
        widths[name] = tuple(flexible(**inputs_for(flexible)).logits.shape)
    assert widths == {"c": (3, 3), "t": (3, 7, 5), "m": (3, 7, 32)}
    assert flexible.get_labels("c") == ["x", "y", "z"]
    with pytest.raises(HeadExists):
        flexible.add_tagging_head("t")
    flexible.delete_head("m")
    assert flexible.active_head is None
    with pytest.raises(HeadNotFound, match="'m'"):
        flexible.active_head = "m"


def test_a_head_is_saved_and_loaded_with_its_adapter(flexible, tmp_path):
    flexible.add_adapter("task", "seq_bn[reduction_factor=4]")
    flexible.add_classification_head("task", num_labels=4)
    flexible.set_active_adapters("task")
    flexible.eval()
    flexible.save_adapter(tmp_path / "task", "task")
    other = copy.deepcopy(flexible)
    other.delete_adapter("task")
    other.delete_head("task")
    other.load_adapter(tmp_path / "task", load_as="ner", set_active=True)
    assert not other.heads["ner"].training
    assert other.active_head == "ner"
    inputs = inputs_for(flexible)
    assert torch.equal(other(**inputs).logits, flexible(**inputs).logits)


def test_the_base_of_a_flexible_model_is_saved_with_its_embedding_tied(flexible):
    flexible.add_masked_lm_head("m")
    assert (
        flexible.heads["m"].get_output_embeddings().weight is flexible.get_input_embeddings().weight
    )


# --- the Trainer


class Rows(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return {
            "input_ids": torch.randint(4, 32, (6,), generator=generator),
            "labels": torch.tensor(index % 2),
        }


def arguments(folder, **changes):
    fields = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 4,
        "report_to": [], "save_strategy": "epoch", "eval_strategy": "epoch", "use_cpu": True,
        "load_best_model_at_end": True, "learning_rate": 1e-2, "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }  # fmt: skip
    return TrainingArguments(**{**fields, **changes})


def test_the_trainer_trains_saves_and_brings_back_adapters(flexible, tmp_path):
    flexible.add_adapter("task", "seq_bn[reduction_factor=4]")
    flexible.add_classification_head("task")
    flexible.train_adapter("task")
    base = {
        k: v.clone() for k, v in flexible.base_model.state_dict().items() if "adapter_bank" not in k
    }
    trainer = AdapterTrainer(
        model=flexible, args=arguments(tmp_path), train_dataset=Rows(), eval_dataset=Rows()
    )
    trainer.train()
    checkpoints = sorted(tmp_path.glob("checkpoint-*"))
    assert len(checkpoints) == 2
    assert all((c / "task" / "adapter.safetensors").is_file() for c in checkpoints)
    assert not list(tmp_path.rglob("model.safetensors"))
    after = flexible.base_model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in base.items())
    trained = [
        row["train"] for row in flexible.adapter_summary(as_dict=True) if row["name"] == "task"
    ]
    assert trained == [True]


def test_the_trainer_resumes(flexible, tmp_path):
    flexible.add_adapter("task", "lora[r=2]")
    flexible.add_classification_head("task")
    flexible.train_adapter("task")
    for epochs, resume in ((1, None), (2, True)):
        trainer = AdapterTrainer(
            model=flexible, args=arguments(tmp_path, num_train_epochs=epochs),
            train_dataset=Rows(), eval_dataset=Rows(),
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
    assert trainer.state.global_step == 8


def test_the_trainer_refuses_a_model_without_a_trained_adapter(flexible, tmp_path):
    flexible.add_adapter("task", "lora[r=2]")
    with pytest.raises(ConfigError, match="train_adapter"):
        AdapterTrainer(
            model=flexible, args=arguments(tmp_path), train_dataset=Rows(), eval_dataset=Rows()
        )
