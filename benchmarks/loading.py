"""What it costs to give a BERT-base-sized model adapters, to load one, and to swap it."""

import tempfile
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

import adapters_runtime as ar
from benchmarks.measuring import calibration, cpu_seconds, percentiles


def run(rounds: int) -> None:
    torch.set_num_threads(1)
    rounds = min(rounds, 10)
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        for _ in range(rounds):
            for name, seconds in measure(Path(folder)).items():
                figures.setdefault(name, []).append(seconds)
    print(f"\nLoading, BERT-base size, CPU ms p50 / p95 of {rounds} rounds")
    print(f"(calibration loop: {1000 * calibration():.0f} ms)")
    for name, values in figures.items():
        print(f"  {name:44} {percentiles(values)}")


def new_model() -> BertModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(), add_pooling_layer=False).eval()


def save(folder: Path) -> None:
    model = new_model()
    ar.init(model)
    for name, config in (("lora", "lora"), ("seq_bn", "seq_bn")):
        model.add_adapter(name, config)
        model.save_adapter(folder / name, name)


def measure(folder: Path) -> dict[str, float]:
    model = new_model()
    found = {"init": cpu_seconds(lambda: ar.init(model))}

    def load(name: str, load_as: str, **options: bool) -> float:
        return cpu_seconds(
            lambda: model.load_adapter(folder / name, load_as=load_as, set_active=True, **options)
        )

    trusted = {"allow_base_mismatch": True}
    found["first LoRA, base not compared"] = load("lora", "a", **trusted)
    found["one more LoRA, base not compared"] = load("lora", "b", **trusted)
    found["one more seq_bn, base not compared"] = load("seq_bn", "c", **trusted)
    found["the same LoRA in the place of another"] = load("lora", "a", **trusted)
    found["one more LoRA, base hashed for the first time"] = load("lora", "d")
    found["one more LoRA, base known"] = load("lora", "e")
    return found
