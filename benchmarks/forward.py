"""What an adapter adds to a forward pass of a BERT-base-sized model, on one thread."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import BertConfig, BertModel

import adapters_runtime as ar
from benchmarks.measuring import calibration, interleaved, ratio

BATCH, LENGTH = 4, 64
METHODS = {
    "seq_bn": "seq_bn",
    "double_seq_bn": "double_seq_bn",
    "par_bn": "par_bn",
    "LoRA r=8 q,v": "lora",
    "LoRA r=8 everywhere": (
        "lora[attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]"
    ),
    "(IA)3": "ia3",
}


def model_of_base_size() -> Any:
    torch.manual_seed(0)
    model = BertModel(BertConfig(), add_pooling_layer=False)
    ar.init(model)
    return model


def run(rounds: int) -> None:
    torch.set_num_threads(1)
    model = model_of_base_size()
    inputs = {"input_ids": torch.randint(1000, 20000, (BATCH, LENGTH))}
    print(f"\nForward pass, BERT-base size, {BATCH} x {LENGTH} tokens")
    print(f"CPU time / base, median of {rounds} rounds with 95 % interval")
    print(f"(calibration loop: {1000 * calibration():.0f} ms)")
    actions: dict[str, Callable[[], object]] = {
        "base": lambda: forward(model, None, inputs),
        "A/A control: base again": lambda: forward(model, None, inputs),
    }
    for name, config in METHODS.items():
        model.add_adapter(name, config)
        actions[name] = lambda name=name: forward(model, name, inputs)
    report(interleaved(actions, rounds))
    merged(rounds, inputs)


def merged(rounds: int, inputs: dict[str, torch.Tensor]) -> None:
    plain, model = model_of_base_size(), model_of_base_size()
    model.add_adapter("a", "lora", set_active=True)
    model.merge_adapter("a")
    actions = {
        "base": lambda: forward(plain, None, inputs),
        "merged LoRA (true 1.000)": lambda: forward(model, "a", inputs),
    }
    report(interleaved(actions, rounds))


def forward(model: Any, name: str | None, inputs: dict[str, torch.Tensor]) -> None:
    with torch.no_grad(), ar.AdapterSetup(name):
        model.eval()(**inputs)


def report(times: dict[str, Any]) -> None:
    base = times["base"]
    for name, values in times.items():
        if name != "base":
            median, low, high = ratio(values, base)
            print(f"  {name:28} {median:6.3f}  [{low:.3f}, {high:.3f}]")
