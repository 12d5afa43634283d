"""Our scenarios; run as a process by `benchmarks.side_by_side`."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import adapters_runtime as ar
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
FOLDER = Path(tempfile.mkdtemp(prefix="bench-ours-"))


def adapted(*configs: str) -> Any:
    """Return a model with adapters "0", "1", ..., none active."""
    model = copied(BASE)
    ar.init(model)
    for number, config in enumerate(configs):
        model.add_adapter(str(number), config)
    awaken(model, BASE)
    return model


def passing(name: str) -> Scenario | None:
    if name.startswith("base"):
        return forward(copied(BASE), shapes.FORWARD)
    if name == "no adapter":
        return forward(adapted(), shapes.FORWARD)
    if name == "LoRA merged":
        return _merged()
    if name not in CONFIGS:
        return None
    model = adapted(CONFIGS[name])
    model.set_active_adapters("0")
    return forward(model, shapes.FORWARD)


def _merged() -> Scenario:
    model = adapted("lora")
    for linear in model.modules():  # the other scenarios share the weights
        if isinstance(linear, nn.Linear):
            linear.weight = nn.Parameter(linear.weight.clone(), requires_grad=False)
    model.merge_adapter("0")
    model.set_active_adapters("0")
    return forward(model, shapes.FORWARD)


def training(name: str) -> Scenario | None:
    if name.startswith("base"):
        return forward(copied(BASE), shapes.TRAINING)
    if (config := CONFIGS.get(name.removesuffix(" again"))) is None:
        return None
    model = adapted(config)
    model.train_adapter("0")
    return training_step(model, shapes.TRAINING)


def rows(name: str) -> Scenario | None:
    if name.startswith("base"):
        return forward(copied(BASE), shapes.ROWS)
    if name == "plain torch, 8 LoRAs":
        return forward(_plain_loras(), shapes.ROWS)
    kind = {"LoRA": "lora", "seq_bn": "seq_bn", "(IA)³": "ia3"}[
        name.rsplit(maxsplit=1)[-1].rstrip("s")
    ]
    model = adapted(*[kind] * shapes.ADAPTERS)
    if name.startswith("1 "):
        model.set_active_adapters("0")
        return forward(model, shapes.ROWS)
    return forward(model, shapes.ROWS, adapter_names=shapes.rows())


def _plain_loras() -> Any:
    """Return a model in which hooks multiply each row by matrices of its own, and nothing else."""
    model = copied(BASE)
    chosen = torch.tensor([int(name) for name in shapes.rows()])
    for name, linear in model.named_modules():
        if name.endswith(("query", "value")):
            down = torch.randn(shapes.ADAPTERS, 768, 8) / 28
            up = torch.randn(shapes.ADAPTERS, 8, 768) / 100
            linear.register_forward_hook(_row_products(down, up, chosen))
    return model


def _row_products(down: Tensor, up: Tensor, chosen: Tensor) -> Callable[..., Tensor]:
    def hook(_: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        return output.baddbmm_(torch.bmm(args[0], down[chosen]), up[chosen])

    return hook


def fusion(name: str) -> Scenario | None:
    if name.startswith("base"):
        return forward(copied(BASE), shapes.FUSION)
    kind, count = name.split()
    names = [str(number) for number in range(int(count))]
    model = adapted(*["seq_bn"] * len(names))
    block = getattr(ar, kind)(*names)
    if kind == "Fuse":
        model.add_adapter_fusion(block)
    model.set_active_adapters(block)
    return forward(model, shapes.FUSION)


def loading(name: str) -> Scenario | None:
    folder = _saved("seq_bn" if "seq_bn" in name else "lora")
    trusted = {} if "hashed" in name else {"allow_base_mismatch": True}

    def load(model: Any) -> None:
        ar.init(model)
        model.load_adapter(folder, load_as="new", set_active=True, **trusted)

    if name.startswith("first"):
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


def _saved(config: str) -> Path:
    if not (FOLDER / config).exists():
        adapted(config).save_adapter(FOLDER / config, "0")
    return FOLDER / config


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
