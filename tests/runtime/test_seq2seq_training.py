"""A model that writes is trained, and evaluated by what it generates."""

import torch
from torch.utils.data import Dataset
from transformers import AutoModelForSeq2SeqLM, Seq2SeqTrainingArguments

import adapters_runtime
from adapters_runtime import Seq2SeqAdapterTrainer
from tests.support.tiny_models import FIELDS


class Texts(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(4, 32, (6,), generator=generator)
        return {"input_ids": ids, "labels": ids.flip(0)}


def test_a_model_that_writes_is_evaluated_by_what_it_generates(bare_models, tmp_path):
    torch.manual_seed(0)
    # Transformers 5.24 makes a cache with as many layers as the encoder has.
    config = type(bare_models("t5").config)(**{**FIELDS["t5"], "num_decoder_layers": 2})
    model = AutoModelForSeq2SeqLM.from_config(config)
    adapters_runtime.init(model)
    model.add_adapter("task", "lora[r=2]")
    model.train_adapter("task")
    model.generation_config.update(max_new_tokens=5, do_sample=False)
    seen = []

    def measure(found):
        seen.append(found.predictions)
        return {"rows": len(found.predictions)}

    trainer = Seq2SeqAdapterTrainer(
        model,
        Seq2SeqTrainingArguments(
            output_dir=str(tmp_path),
            max_steps=2,
            save_steps=2,
            predict_with_generate=True,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
            logging_strategy="no",
        ),
        train_dataset=Texts(),
        eval_dataset=Texts(),
        compute_metrics=measure,
    )
    trainer.train()
    assert trainer.evaluate()["eval_rows"] == 8
    rows = torch.stack([Texts()[index]["input_ids"] for index in range(8)])
    texts = model.eval().generate(rows, max_new_tokens=5, do_sample=False)
    assert seen[0][:, : texts.shape[1]].tolist() == texts.tolist()
    assert (tmp_path / "checkpoint-2" / "task" / "adapter.safetensors").is_file()
