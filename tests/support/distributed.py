"""One rank of a training in two processes: run as a program, with the variables of torchrun."""

import os
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, TrainingArguments

from adapters_runtime import AdapterTrainer, AutoAdapterModel
from tests.support.tiny_models import FIELDS


class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(4, 32, (6,), generator=generator)
        return {"input_ids": ids, "labels": torch.tensor(index % 2)}


def trained(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def main(folder):
    model = AutoAdapterModel.from_config(AutoConfig.for_model("bert", **FIELDS["bert"]))
    model.add_adapter("task", "double_seq_bn[reduction_factor=4]|lora[r=2]|loreft")
    model.add_classification_head("task")
    model.train_adapter("task")
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps=3,
        per_device_train_batch_size=4,
        report_to=[],
        save_strategy="steps",
        save_steps=3,
        use_cpu=True,
        ddp_backend="gloo",
        ddp_find_unused_parameters=False,
        learning_rate=1e-2,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    before = trained(model)
    AdapterTrainer(model, arguments, train_dataset=Texts()).train()
    assert torch.distributed.get_world_size() == 2
    torch.save({"before": before, "after": trained(model)}, folder / f"{os.environ['RANK']}.pt")
    # Whoever ends first would take the other's connection away.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
