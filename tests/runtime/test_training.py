"""The trainers: checkpoints hold what is trained; training goes on exactly, also in processes."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset
from transformers import (
    BertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
)

import adapters_runtime
from adapters_runtime import (
    AdapterArguments,
    AdapterTrainer,
    AutoAdapterModel,
    Fuse,
    Stack,
    setup_adapter_training,
)
from adapters_runtime.errors import ConfigError
from adapters_runtime.inject.bank import bank_of
from tests.support.running import randomise_adapter

DISTRIBUTED = Path(__file__).parents[1] / "support" / "distributed.py"


class Rows(Dataset):
    """Texts of one of two kinds, by their first token."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(4, 32, (6,), generator=generator)
        return {"input_ids": ids, "labels": torch.tensor(index % 2)}


def arguments(folder, **changes):
    fields = {
        "output_dir": str(folder),
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "report_to": [],
        "save_strategy": "steps",
        "save_steps": 2,
        "use_cpu": True,
        "learning_rate": 1e-2,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "logging_strategy": "no",
    }
    return TrainingArguments(**{**fields, **changes})


def classifier(config, setup="task"):
    """Return a model with a head, built the same each time, dropout included."""
    torch.manual_seed(0)
    model = AutoAdapterModel.from_config(config)
    for name in setup.flatten() if isinstance(setup, Fuse) else (setup,):
        model.add_adapter(name, "seq_bn[reduction_factor=4]")
        randomise_adapter(model, name)
    model.add_classification_head("task")
    return model


def trained_state(model):
    return {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def trains_adapter(config):
    model = classifier(config)
    model.train_adapter("task")
    return model


def trains_fusion(config):
    model = classifier(config, Fuse("a", "b"))
    model.add_adapter_fusion(["a", "b"], "dynamic")
    model.train_adapter_fusion(Fuse("a", "b"))
    return model


def trains_embeddings(config):
    model = classifier(config)
    model.train_adapter("task", train_embeddings=True)
    return model


def trains_static_head(config):
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    adapters_runtime.init(model)
    model.add_adapter("task", "prefix_tuning[prefix_length=3]|lora[r=2]")
    model.train_adapter("task")
    return model


BUILDS = pytest.mark.parametrize(
    "build", [trains_adapter, trains_fusion, trains_embeddings, trains_static_head]
)


@BUILDS
def test_training_goes_on_exactly_where_a_checkpoint_was_written(bare_models, tmp_path, build):
    config = bare_models("bert").config
    straight = build(config)
    AdapterTrainer(straight, arguments(tmp_path), train_dataset=Rows()).train()

    resumed = build(config)
    trainer = AdapterTrainer(resumed, arguments(tmp_path), train_dataset=Rows())
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))

    assert trainer.state.global_step == 4
    assert_equal(trained_state(resumed), trained_state(straight))
    assert not list(tmp_path.rglob("model.safetensors"))


def test_the_best_state_is_brought_back(bare_models, tmp_path):
    model = trains_adapter(bare_models("bert").config)
    trainer = AdapterTrainer(
        model,
        arguments(
            tmp_path,
            eval_strategy="steps",
            eval_steps=2,
            load_best_model_at_end=True,
            metric_for_best_model="falling",
            greater_is_better=True,
            max_steps=6,
        ),
        train_dataset=Rows(),
        eval_dataset=Rows(),
        compute_metrics=lambda _: {"falling": -trainer.state.global_step},
    )
    trainer.train()
    best = Path(trainer.state.best_model_checkpoint)
    assert best.name == "checkpoint-2"
    saved = load_file(best / "task" / "adapter.safetensors")
    for key, tensor in bank_of(model).saved_tensors("task"):
        assert torch.equal(saved[f"bert.{key}"], tensor.detach())
    head = load_file(best / "task" / "model_head.safetensors")
    assert torch.equal(head["heads.task.1.weight"], model.heads["task"][1].weight.detach())


def test_a_fusion_is_pulled_towards_the_identity_by_its_own_loss(bare_models, tmp_path):
    model = trains_fusion(bare_models("bert").config)
    trainer = AdapterTrainer(model, arguments(tmp_path, max_steps=1), train_dataset=Rows())
    batch = next(iter(trainer.get_train_dataloader()))
    model.eval()
    plain = trainer.compute_loss(model, dict(batch)).item()
    extra = model.get_fusion_regularization_loss().item()
    assert extra > 0
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert trainer.compute_loss(model, dict(batch)).item() == pytest.approx(plain + extra, rel=1e-5)

    spared = set(dict(model.named_parameters())) - set(trainer.get_decay_parameter_names(model))
    values = [name for name in trained_state(model) if ".value." in name]
    assert values
    assert set(values) <= spared


def test_what_checkpoints_do_not_hold_is_not_trained(bare_models, tmp_path):
    model = trains_adapter(bare_models("bert").config)
    model.base_model.encoder.requires_grad_(True)
    trainer = AdapterTrainer(model, arguments(tmp_path), train_dataset=Rows())
    with pytest.raises(ConfigError, match="parameters of the base model would be trained"):
        trainer.train()


def test_a_set_up_can_be_named_to_the_trainer(bare_models, tmp_path):
    model = classifier(bare_models("bert").config, Fuse("a", "b"))
    model.train_adapter("b")
    AdapterTrainer(model, arguments(tmp_path), train_dataset=Rows(), adapter_names=Stack("a", "b"))
    assert model.active_adapters == Stack("a", "b")


def test_a_plain_trainer_trains_adapters_too(bare_models, tmp_path):
    model = trains_adapter(bare_models("bert").config)
    before = trained_state(model)
    Trainer(model, arguments(tmp_path, save_strategy="no"), train_dataset=Rows()).train()
    assert any(not torch.equal(value, before[name]) for name, value in trained_state(model).items())


def test_a_script_s_arguments_set_the_model_up(bare_models, tmp_path):
    model = AutoAdapterModel.from_config(bare_models("bert").config)
    model.add_adapter("en", "seq_bn_inv[reduction_factor=4]")
    model.save_adapter(tmp_path / "en", "en")
    model.delete_adapter("en")
    (given,) = HfArgumentParser(AdapterArguments).parse_args_into_dataclasses(
        ["--train_adapter", "--adapter_config", "lora", "--load_lang_adapter", str(tmp_path / "en")]
    )
    names = setup_adapter_training(model, given, "task", {"r": 3})
    assert names == ("task", "en")
    assert model.active_adapters == Stack("en", "task")
    assert model.adapters_config["task"]["r"] == 3
    rows = {row["name"]: row["train"] for row in model.adapter_summary(as_dict=True)}
    assert rows == {"en": False, "task": True, "Full model": False}
    model.add_adapter("double", "double_seq_bn")
    model.save_adapter(tmp_path / "double", "double")
    again = AdapterArguments(train_adapter=True, load_adapter=str(tmp_path / "double"))
    assert setup_adapter_training(model, again, "more") == ("more", None)
    assert model.adapters_config["more"] == model.adapters_config["double"]
    assert setup_adapter_training(model, AdapterArguments(), "x") == (None, None)
    with pytest.raises(ValueError, match="--train_adapter"):
        setup_adapter_training(model, AdapterArguments(load_adapter="x"), "x")


def test_two_processes_stay_equal_bit_for_bit(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, DISTRIBUTED, str(tmp_path)],
            cwd=Path(__file__).parents[2],
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in ranks:
        output, _ = process.communicate(timeout=500)
        assert process.returncode == 0, output
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert_equal(second["after"], first["after"])
    assert any(
        not torch.equal(first["after"][key], value) for key, value in first["before"].items()
    )
    assert (tmp_path / "out" / "checkpoint-3" / "task" / "adapter.safetensors").is_file()
