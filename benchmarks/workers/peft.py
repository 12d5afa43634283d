"""The scenarios by PEFT; run as a process by `benchmarks.side_by_side`."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from peft.utils.hotswap import hotswap_adapter

from benchmarks.workers import shapes
from benchmarks.workers.serving import (
    Scenario,
    awaken,
    base_model,
    copied,
    forward,
    serve,
    training_step,
)

EVERYWHERE = ["query", "key", "value", "intermediate.dense", "output.dense"]
CONFIGS: dict[str, Callable[[], PeftConfig]] = {
    "LoRA r=8 q,v": lambda: LoraConfig(r=8, target_modules=["query", "value"]),
    "LoRA r=8 everywhere": lambda: LoraConfig(
        r=8, target_modules=EVERYWHERE, exclude_modules=r".*attention\.output\.dense"
    ),
    "(IA)³": lambda: IA3Config(
        target_modules=r".*(key|value|\d\.output\.dense)",
        feedforward_modules=r".*\d\.output\.dense",
    ),
    "DoRA": lambda: LoraConfig(r=8, target_modules=["query", "value"], use_dora=True),
    "prefix 30": lambda: PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=30),
    "prefix 30 by an MLP": lambda: PrefixTuningConfig(
        task_type="FEATURE_EXTRACTION",
        num_virtual_tokens=30,
        prefix_projection=True,
        encoder_hidden_size=512,
    ),
    "10 prompt tokens": lambda: PromptTuningConfig(
        task_type="FEATURE_EXTRACTION", num_virtual_tokens=10
    ),
}
BASE = base_model()
FOLDER = Path(tempfile.mkdtemp(prefix="bench-peft-"))


def adapted(config: str, count: int = 1) -> Any:
    """Return a model with adapters n0, n1, ..., the first one active."""
    model = get_peft_model(copied(BASE), CONFIGS[config](), adapter_name="n0")
    for number in range(1, count):
        model.add_adapter(f"n{number}", CONFIGS[config]())
    awaken(model, BASE)
    return model


def passing(name: str) -> Scenario | None:
    if name == "base":
        return forward(copied(BASE), shapes.FORWARD)
    if name == "LoRA merged":
        own = base_model()  # the other scenarios share the weights
        merged = get_peft_model(own, CONFIGS["LoRA r=8 q,v"]()).merge_and_unload()
        return forward(merged, shapes.FORWARD)
    return forward(adapted(name), shapes.FORWARD) if name in CONFIGS else None


def training(name: str) -> Scenario | None:
    if name == "base":
        return forward(copied(BASE), shapes.TRAINING)
    return training_step(adapted(name), shapes.TRAINING) if name in CONFIGS else None


def rows(name: str) -> Scenario | None:
    if name == "base":
        return forward(copied(BASE), shapes.ROWS)
    if name == "1 LoRA":
        return forward(adapted("LoRA r=8 q,v"), shapes.ROWS)
    if name == "8 LoRAs":
        model = adapted("LoRA r=8 q,v", shapes.ADAPTERS)
        names = [f"n{name}" for name in shapes.rows()]
        return forward(model, shapes.ROWS, adapter_names=names)
    return None


def loading(name: str) -> Scenario | None:
    if name == "first":
        folder = _saved()
        return Scenario(
            lambda model: PeftModel.from_pretrained(model, folder, adapter_name="new"),
            lambda: copied(BASE),
        )
    if name not in shapes.LOADED or "seq_bn" in name:
        return None
    model = adapted("LoRA r=8 q,v", max(1, shapes.LOADED[name]))
    if name.startswith("swap"):
        return Scenario(lambda _: hotswap_adapter(model, _saved(), adapter_name="n0"))

    def load(_: Any) -> None:
        model.load_adapter(_saved(), "new")
        model.set_adapter("new")

    def without() -> None:
        if "new" in model.peft_config:
            model.delete_adapter("new")

    return Scenario(load, without)


def _saved() -> str:
    if not (FOLDER / "n0").exists():
        adapted("LoRA r=8 q,v").save_pretrained(FOLDER)
    return str(FOLDER / "n0")


if __name__ == "__main__":
    serve(
        {
            "forward": passing,
            "training": training,
            "rows": rows,
            "fusion": lambda _: None,
            "loading": loading,
        }
    )
