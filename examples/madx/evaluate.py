"""In a fresh process: pull set-ups from the hub, swap the language, evaluate on held-out text.

usage: evaluate.py OWNER SEED WORK_FOLDER

Pulls `OWNER/sections-sSEED` in English by need, and swaps its language for each other one by
`hubctl swap`; the model follows by one call. Writes predictions of every set-up on every language's
test text to WORK_FOLDER/predictions.json, and checks the outputs against those of training.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from settings import LANGUAGES, SOURCE, TARGETS
from task import build, logits_on
from transformers.utils import logging

import adapters_runtime as ar
from adapters_runtime.inject.bank import bank_of

HUBCTL = str(Path(sys.executable).with_name("hubctl"))


def hubctl(*arguments: str | Path) -> dict[str, Any]:
    """Run hubctl and return the JSON document it prints."""
    done = subprocess.run(
        [HUBCTL, *map(str, arguments), "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def set_ups(owner: str, seed: int, work: Path) -> dict[str, Path]:
    """Return a pulled set-up folder per language: English by need, the others swapped."""
    task, folders = f"{owner}/sections-s{seed}", {}
    for language in LANGUAGES:
        folder = work / f"setup-{language}"
        hubctl("pull", "--task", task, "--language", SOURCE, "--to", folder, "--force")
        if language != SOURCE:
            hubctl("swap", folder, "--language", language)
        folders[language] = folder
    return folders


def rows_only(model: Any, target: str, folder: Path) -> None:
    """Put another language's own rows under the English adapter, as adapter `rows`."""
    model.load_adapter(folder / "lang", load_as=target, with_head=False)
    bank = bank_of(model)
    english, rows = bank.configs["lang"], bank.configs[target].configs[-1]
    model.add_adapter("rows", ar.ConfigUnion(english, rows), overwrite_ok=True)
    parts = {**named(bank, target, keep="embedding_rows"), **named(bank, "lang")}
    with torch.no_grad():
        for key, parameter in bank.saved_tensors("rows"):
            parameter.copy_(parts[key.replace(".rows.", ".*.")])


def named(bank: Any, name: str, keep: str = "") -> dict[str, torch.Tensor]:
    tensors = {key.replace(f".{name}.", ".*."): t for key, t in bank.saved_tensors(name)}
    return {key: tensor for key, tensor in tensors.items() if keep in key}


def evaluate(owner: str, seed: int, work: Path) -> dict[str, Any]:
    folders = set_ups(owner, seed, work)
    model = build()
    ar.load_setup(model, folders[SOURCE])
    predictions, worst = {}, 0.0
    for language in LANGUAGES:
        if language != SOURCE:
            ar.swap_slot(model, "lang", folders[language] / "lang")  # the swap: one call
        for text in LANGUAGES:
            logits, _ = logits_on(model, text)
            predictions[f"stack-{language}/{text}"] = logits.argmax(-1).tolist()
            expected = work / f"logits.{text}.npy"
            if language == text and expected.is_file():
                worst = max(worst, float(np.abs(np.load(expected) - logits).max()))
    ar.swap_slot(model, "lang", folders[SOURCE] / "lang")
    for target in TARGETS:
        rows_only(model, target, folders[target])
        model.set_active_adapters(ar.Stack("rows", "task"))
        predictions[f"rows-{target}/{target}"] = logits_on(model, target)[0].argmax(-1).tolist()
    model = build()
    alone = work / "pulled-alone"
    hubctl("pull", f"{owner}/sections-alone-s{seed}", "--to", alone, "--force")
    model.load_adapter(alone, load_as="task", set_active=True)
    for text in LANGUAGES:
        predictions[f"alone/{text}"] = logits_on(model, text)[0].argmax(-1).tolist()
    return {"predictions": predictions, "largest_difference_from_training": worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("owner")
    parser.add_argument("seed", type=int)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    found = evaluate(options.owner, options.seed, options.work)
    (options.work / "predictions.json").write_text(json.dumps(found), "utf-8")
    print(found["largest_difference_from_training"])


if __name__ == "__main__":
    main()
