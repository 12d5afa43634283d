"""On a GPU: whether every method computes what it does on the CPU, and what it adds to a pass.

`python -m benchmarks cuda`; not among the suites that run by default, since it needs a GPU.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, LlamaConfig, LlamaModel

import adapters_runtime as ar
from adapters_runtime.configs.presets import DEPRECATED_NAMES
from adapters_runtime.errors import AdapterError
from benchmarks.measuring import ratio

SMALL = {"vocab_size": 1000, "num_hidden_layers": 3, "num_attention_heads": 4}
SMALL_MODELS = {
    "bert": lambda: BertModel(
        BertConfig(hidden_size=128, intermediate_size=256, **SMALL), add_pooling_layer=False
    ),
    "gpt2": lambda: GPT2Model(
        GPT2Config(vocab_size=1000, n_embd=128, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2)
    ),
    "llama": lambda: LlamaModel(
        LlamaConfig(hidden_size=128, intermediate_size=256, num_key_value_heads=2, **SMALL)
    ),
}
COMPILED_EVERYWHERE = frozenset({"lora", "seq_bn_inv", "prefix_tuning", "unipelt"})
"""Compiling takes seconds; BERT is compiled with all methods, the others with these."""

DEVICE = "cuda"
BATCH, LENGTH = 32, 128
TIMED = {
    "LoRA r=8 q,v": "lora",
    "seq_bn": "seq_bn",
    "double_seq_bn": "double_seq_bn",
    "prefix tuning, flat": "prefix_tuning_flat",
    "(IA)3": "ia3",
    "UniPELT": "unipelt",
}
TIMED_COMPILED = ("LoRA r=8 q,v", "seq_bn")


def run(rounds: int) -> None:
    if not torch.cuda.is_available():
        print("\nNo GPU here: the suite `cuda` has nothing to measure")
        return
    print(f"\nOn {torch.cuda.get_device_name()}, torch {torch.__version__}")
    agreement()
    timing(rounds)


# --- agreement


def agreement() -> None:
    """Print how far a method on the GPU is from itself on the CPU, and compiled from eager."""
    torch.backends.cuda.matmul.allow_tf32 = False
    print("Largest difference: float32 to CPU; compiled (fullgraph) to eager; bf16, of the norm")
    for model_type, build in SMALL_MODELS.items():
        torch.manual_seed(0)
        ids = torch.randint(5, 900, (4, 24))
        for method in sorted(ar.ADAPTER_CONFIG_MAP.keys() - DEPRECATED_NAMES.keys()):
            try:
                compile_too = model_type == "bert" or method in COMPILED_EVERYWHERE
                figures = _agreement(build(), method, ids, compile_too=compile_too)
            except AdapterError as refusal:
                figures = f"refused: {str(refusal).splitlines()[0][:70]}"
            print(f"  {model_type:6} {method:20} {figures}", flush=True)


def _compiled_output(model: Any, ids: torch.Tensor) -> torch.Tensor:
    torch.compiler.reset()
    output: torch.Tensor = torch.compile(model, fullgraph=True)(input_ids=ids.to(DEVICE))[0]
    return output


def _agreement(model: Any, method: str, ids: torch.Tensor, *, compile_too: bool) -> str:
    ar.init(model)
    model.add_adapter("a", method, set_active=True)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "adapter_bank" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.eval()
    with torch.no_grad():
        cpu = model(input_ids=ids).last_hidden_state
        model.to(DEVICE)
        eager = model(input_ids=ids.to(DEVICE)).last_hidden_state
        compiled = _compiled_output(model, ids) if compile_too else eager
        low = model.to(torch.bfloat16)(input_ids=ids.to(DEVICE)).last_hidden_state.float()
    from_eager = f"{(compiled - eager).abs().max():.1e}" if compile_too else "-      "
    return (
        f"{(eager.cpu() - cpu).abs().max():.1e}  {from_eager}  "
        f"{(low - eager).norm() / eager.norm():.1e}"
    )


# --- timing


def timing(rounds: int) -> None:
    """Print wall time over that of the base, bf16, interleaved."""
    model = BertModel(BertConfig(), add_pooling_layer=False).eval()
    ar.init(model)
    for index, config in enumerate(TIMED.values()):
        model.add_adapter(f"m{index}", config)
    names = [f"lora{i}" for i in range(8)]
    for name in names:
        model.add_adapter(name, "lora")
        for parameter in _own(model, name):
            torch.nn.init.normal_(parameter, std=0.02)
    model.to(DEVICE, torch.bfloat16)
    inputs = {"input_ids": torch.randint(1000, 20000, (BATCH, LENGTH), device=DEVICE)}
    rows = [names[row % 8] for row in range(BATCH)]
    actions: dict[str, Callable[[], object]] = {
        "base": lambda: _forward(model, None, inputs),
        "A/A control: base again": lambda: _forward(model, None, inputs),
        **{
            name: lambda index=index: _forward(model, f"m{index}", inputs)
            for index, name in enumerate(TIMED)
        },
        "8 LoRAs, a row each": lambda: _forward(model, None, {**inputs, "adapter_names": rows}),
    }
    for label, compiled in (("eager", False), ("compiled", True)):
        print(f"BERT-base size, bf16, {BATCH} x {LENGTH}, {label}: wall time / base")
        _report(_timed(_compiled(model, inputs) if compiled else actions, rounds))


def _compiled(model: Any, inputs: Mapping[str, Any]) -> dict[str, Callable[[], object]]:
    torch.compiler.reset()
    program = torch.compile(model, fullgraph=True)
    return {
        "base": lambda: _forward(program, None, inputs),
        "A/A control: base again": lambda: _forward(program, None, inputs),
        **{
            name: lambda index=index: _forward(program, f"m{index}", inputs)
            for index, name in enumerate(TIMED)
            if name in TIMED_COMPILED
        },
    }


def _own(model: Any, name: str) -> list[torch.nn.Parameter]:
    return [p for key, p in model.named_parameters() if f".{name}." in key]


def _forward(model: Any, name: str | None, inputs: Mapping[str, Any]) -> None:
    with torch.no_grad(), ar.AdapterSetup(name):
        model(**inputs)


def _timed(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    times: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 3):
        for name, action in actions.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            action()
            torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: np.array(values[3:]) for name, values in times.items()}


def _report(times: Mapping[str, np.ndarray]) -> None:
    base = times["base"]
    print(f"  base: {1000 * np.median(base):.2f} ms")
    for name, values in times.items():
        if name != "base":
            median, low, high = ratio(values, base)
            print(f"  {name:28} {median:6.3f}  [{low:.3f}, {high:.3f}]", flush=True)
