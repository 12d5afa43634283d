"""Train the task adapters of one seed on English text: one stacked on English, and one alone.

usage: task.py SEED ENGLISH_PACK FOLDER [TARGET_LANGUAGE=PACK ...] [--epochs N]

The head votes once per token, and the votes of all tokens but [CLS] are averaged: a linear head
over the mean of the tokens. FOLDER gets `stacked/`, `alone/` and, for each target language, the
logits that this process gives on its test text after the swap, for another one to compare with.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from settings import BASE, LABELS, PER_CLASS, RECIPE, SOURCE, TEST_PER_CLASS, TEST_SEED
from text import batches, encode, examples
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.utils import logging

import adapters_runtime as ar

TASK = RECIPE["task_adapter"]
BATCH, WARM_UP = 32, 20


def build() -> Any:
    model = ar.AutoAdapterModel.from_pretrained(BASE, dtype=torch.float32)
    model.describe_base("manpages-bert-2x128", tokenizer=BASE / "tokenizer.json")
    return model


def vote(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the tokens' votes without [CLS], (batch, labels)."""
    logits = model(input_ids=ids, attention_mask=mask).logits  # (batch, length, labels)
    weight = mask.unsqueeze(-1).float()
    weight[:, 0] = 0
    return (logits * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


@torch.no_grad()
def logits_on(model: Any, language: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (logits, labels) of a language's test text, in the order of the examples."""
    texts, gold = examples(language, "test", TEST_PER_CLASS, TEST_SEED)
    encoded = encode(texts)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    found = np.zeros((len(encoded), len(LABELS)), dtype="float32")
    model.eval()
    for ids, mask, indices in batches(encoded, 64, order):
        found[indices] = vote(model, ids, mask).numpy()
    return found, gold


def train(model: Any, seed: int, epochs: int, report: str) -> None:
    """Train what is trainable of the model on English examples."""
    texts, labels = examples(SOURCE, "train", PER_CLASS, seed)
    encoded, gold = encode(texts), torch.tensor(labels)
    steps = epochs * -(-len(encoded) // BATCH)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=TASK["lr"], fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARM_UP) * max(0.02, 1 - step / steps)
    )
    rng, step = random.Random(seed), 0
    model.train()
    for _ in range(epochs):
        order = list(range(len(encoded)))
        rng.shuffle(order)
        for ids, mask, indices in batches(encoded, BATCH, order):
            loss = cross_entropy(vote(model, ids, mask), gold[indices])
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            if step % 20 == 0 or step == steps:
                print(report, step, steps, round(loss.item(), 3), flush=True)


def add_task(model: Any, seed: int, name: str, kind: str) -> None:
    torch.manual_seed(seed)
    model.add_adapter(name, ar.SeqBnConfig(reduction_factor=TASK["reduction_factor"]))
    model.add_tagging_head(name, len(LABELS), id2label=dict(enumerate(LABELS)))
    model.describe_adapter(
        name,
        kind="task",
        languages=[SOURCE],
        series=kind,
        datasets=[("debian-man-page-sections", SOURCE, "train")],
        training={"seed": seed, "examples_per_class": PER_CLASS},
    )
    model.train_adapter(name)


def stacked(seed: int, epochs: int, english: Path, folder: Path, packs: dict[str, Path]) -> None:
    model = build()
    model.load_adapter(english, load_as="lang")
    add_task(model, seed, "task", "stacked")
    model.set_active_adapters(ar.Stack("lang", "task"))
    train(model, seed, epochs, "stacked")
    model.save_adapter(folder / "stacked", "task")
    for language, pack in packs.items():
        ar.swap_slot(model, "lang", pack)
        np.save(folder / f"logits.{language}.npy", logits_on(model, language)[0])


def alone(seed: int, epochs: int, folder: Path) -> None:
    model = build()
    add_task(model, seed, "task", "alone")
    train(model, seed, epochs, "alone")
    model.save_adapter(folder / "alone", "task")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("english", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("packs", nargs="*", metavar="LANGUAGE=PACK")
    parser.add_argument("--epochs", type=int, default=TASK["epochs"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options.folder.mkdir(parents=True, exist_ok=True)
    packs = {language: Path(path) for language, path in (p.split("=", 1) for p in options.packs)}
    stacked(options.seed, options.epochs, options.english, options.folder, packs)
    alone(options.seed, options.epochs, options.folder)


if __name__ == "__main__":
    main()
