"""The scenarios by AdapterHub's library; run as a process by `benchmarks.side_by_side`."""

import tempfile
from pathlib import Path
from typing import Any

import adapters
from adapters import composition

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

CONFIGS = {
    "LoRA r=8 q,v": "lora",
    "LoRA r=8 everywhere": (
        "lora[attn_matrices=['q','k','v'],intermediate_lora=True,output_lora=True]"
    ),
    "(IA)³": "ia3",
    "DoRA": "dora",
    "prefix 30": "prefix_tuning_flat",
    "prefix 30 by an MLP": "prefix_tuning",
    "10 prompt tokens": "prompt_tuning",
    "LoReFT": "loreft",
    "seq_bn": "seq_bn",
    "double_seq_bn": "double_seq_bn",
    "par_bn": "par_bn",
    "seq_bn_inv": "seq_bn_inv",
    "Compacter": "compacter",
    "Mix-and-Match": "mam",
    "UniPELT": "unipelt",
}
BASE = base_model()
FOLDER = Path(tempfile.mkdtemp(prefix="bench-adapters-"))


def adapted(*configs: str) -> Any:
    """Return a model with adapters "0", "1", ..., none active."""
    model = copied(BASE)
    adapters.init(model)
    for number, config in enumerate(configs):
        model.add_adapter(str(number), config=config)
    awaken(model, BASE)
    return model


def passing(name: str) -> Scenario | None:
    if name == "base":
        return forward(copied(BASE), shapes.FORWARD)
    if name == "no adapter":
        return forward(adapted(), shapes.FORWARD)
    if name == "LoRA merged":
        own = base_model()  # the other scenarios share the weights
        adapters.init(own)
        own.add_adapter("0", config="lora")
        own.merge_adapter("0")
        return forward(own, shapes.FORWARD)
    if name not in CONFIGS:
        return None
    model = adapted(CONFIGS[name])
    model.set_active_adapters("0")
    return forward(model, shapes.FORWARD)


def training(name: str) -> Scenario | None:
    if name == "base":
        return forward(copied(BASE), shapes.TRAINING)
    if name not in CONFIGS:
        return None
    model = adapted(CONFIGS[name])
    model.train_adapter("0")
    return training_step(model, shapes.TRAINING)


def rows(name: str) -> Scenario | None:
    if name == "base":
        return forward(copied(BASE), shapes.ROWS)
    kinds = {"LoRA": "lora", "seq_bn": "seq_bn", "(IA)³": "ia3"}
    count, kind = name.split(maxsplit=1)[0], kinds.get(name.rsplit(maxsplit=1)[-1].rstrip("s"))
    if count not in ("1", "8") or "torch" in name or kind is None:
        return None
    model = adapted(*[kind] * shapes.ADAPTERS)
    names = [str(number) for number in range(shapes.ADAPTERS)]
    share = shapes.ROWS[0] // shapes.ADAPTERS
    together = composition.BatchSplit(*names, batch_sizes=[share] * len(names))
    model.set_active_adapters("0" if count == "1" else together)
    return forward(model, shapes.ROWS)


def fusion(name: str) -> Scenario | None:
    if name == "base":
        return forward(copied(BASE), shapes.FUSION)
    kind, count = name.split()
    if not count.isdigit():
        return None
    names = [str(number) for number in range(int(count))]
    model = adapted(*["seq_bn"] * len(names))
    block = getattr(composition, kind)(*names)
    if kind == "Fuse":
        model.add_adapter_fusion(block)
    model.set_active_adapters(block)
    return forward(model, shapes.FUSION)


def loading(name: str) -> Scenario | None:
    folder = _saved("seq_bn" if "seq_bn" in name else "lora")

    def load(model: Any) -> None:
        if not hasattr(model, "adapters_config"):
            adapters.init(model)
        model.load_adapter(folder, load_as="new", set_active=True)

    if name in ("first", "first seq_bn"):
        return Scenario(load, lambda: copied(BASE))
    if (count := shapes.LOADED.get(name)) is None:
        return None
    model = adapted(*["lora"] * count)
    if name.startswith("swap"):
        load(model)
        return Scenario(load, lambda: model)

    def without() -> Any:
        if "new" in model.adapters_config:
            model.delete_adapter("new")
        return model

    return Scenario(load, without)


def _saved(config: str) -> str:
    if not (FOLDER / config).exists():
        adapted(config).save_adapter(str(FOLDER / config), "0")
    return str(FOLDER / config)


if __name__ == "__main__":
    serve(
        {
            "forward": passing,
            "training": training,
            "rows": rows,
            "fusion": fusion,
            "loading": loading,
        }
    )
