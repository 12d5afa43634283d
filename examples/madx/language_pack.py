"""Train one language pack by masked language modelling; the body of the base stays frozen.

usage: language_pack.py LANGUAGE FOLDER [--method seq_bn_inv|lora] [--steps N]

A pack is an invertible bottleneck adapter and, for languages other than English, own rows of the
token embedding. Progress goes to stdout as lines `STEP STEPS LOSS`.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from settings import BASE, FIRST_WORD_PIECE, PACK_SEED, RECIPE, SOURCE, STEPS
from text import blocks, masked, paragraphs
from torch.nn.functional import cross_entropy
from transformers import BertForMaskedLM
from transformers.utils import logging

import adapters_runtime as ar
from adapters_runtime.configs import AdapterConfig
from adapters_runtime.inject.bank import bank_of

PACK = RECIPE["language_pack"]
BATCH, WARM_UP = 32, 50


def own_rows(encoded: list[list[int]], vocabulary: int) -> list[int]:
    """Return the ids of this language: seen twice, and thrice as frequent as in the base."""
    counts = np.bincount([i for ids in encoded for i in ids], minlength=vocabulary)
    base = np.load(BASE / "unigram.npy").astype("float64")
    typical = (counts >= 2) & (counts / counts.sum() > 3.0 * base / base.sum())
    typical[:FIRST_WORD_PIECE] = False
    return [int(i) for i in np.flatnonzero(typical)]


def configuration(
    language: str, method: str, encoded: list[list[int]], vocabulary: int
) -> AdapterConfig:
    if method == "lora":
        return ar.LoRAConfig(r=8, alpha=16)
    bottleneck = ar.SeqBnInvConfig(
        reduction_factor=PACK["reduction_factor"],
        inv_adapter_reduction_factor=PACK["inv_adapter_reduction_factor"],
    )
    if language == SOURCE:
        return bottleneck
    rows = ar.EmbeddingRowsConfig(token_ids=own_rows(encoded, vocabulary))
    return ar.ConfigUnion(bottleneck, rows)


def optimiser(model: BertForMaskedLM, language: str) -> torch.optim.AdamW:
    """Train the adapter, and the output's bias with its rows; the bias is not kept."""
    bias = model.cls.predictions.bias
    rows, others = [], []
    for key, parameter in bank_of(model).saved_tensors(language):
        (rows if "embedding_rows" in key else others).append(parameter)
    lr = PACK["en"]["lr"] if language == SOURCE else PACK["lr"]
    groups = [{"params": others, "lr": lr}]
    if rows:
        bias.requires_grad_(True)
        groups.append({"params": [*rows, bias], "lr": PACK["lr_rows"]})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)


def train(language: str, method: str, steps: int) -> BertForMaskedLM:
    model = BertForMaskedLM.from_pretrained(BASE, dtype=torch.float32)
    ar.init(model)
    vocabulary, encoded = model.config.vocab_size, paragraphs(language)
    torch.manual_seed(PACK_SEED)
    model.add_adapter(language, configuration(language, method, encoded, vocabulary))
    model.train_adapter(language)
    model.cls.requires_grad_(False)
    optimizer = optimiser(model, language)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARM_UP) * max(0.02, 1 - step / steps)
    )
    rng, generator = random.Random(PACK_SEED), torch.Generator().manual_seed(PACK_SEED)
    stream, position, losses = blocks(encoded, rng), 0, []
    model.train()
    for step in range(1, steps + 1):
        if position + BATCH > len(stream):
            stream, position = blocks(encoded, rng), 0
        batch = stream[position : position + BATCH]
        position += BATCH
        ids, chosen, labels = masked(batch, vocabulary, generator)
        hidden = model.bert(ids).last_hidden_state[chosen]
        loss = cross_entropy(model.cls(hidden), labels)
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 25 == 0 or step == steps:
            print(step, steps, round(float(np.mean(losses[-100:])), 3), flush=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("language")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="seq_bn_inv", choices=["seq_bn_inv", "lora"])
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    steps = options.steps or STEPS[options.language]
    model = train(options.language, options.method, steps)
    model.describe_base("manpages-bert-2x128", tokenizer=BASE / "tokenizer.json")
    model.describe_adapter(
        options.language,
        kind="language",
        languages=[options.language],
        series="manpages",
        datasets=[("debian-man-pages", options.language, "train")],
        training={"steps": steps, "seed": PACK_SEED, "objective": "masked language modelling"},
    )
    model.save_adapter(options.folder, options.language, with_head=False)


if __name__ == "__main__":
    main()
