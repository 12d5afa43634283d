"""One library in a process of its own: do a scenario once, and answer what it cost.

A request is one line of JSON, [suite, scenario, question]; so is the answer. It needs nothing but
torch and transformers, of whichever version the library wants.
"""

import copy
import gc
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import (
    bmm_flop,
    flop_registry,
    mm_flop,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)
from transformers import BertConfig, BertModel


class Scenario(NamedTuple):
    """`act` is measured, on what `prepare` returns; both are called each time."""

    act: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None


Suites = Mapping[str, Callable[[str], Scenario | None]]
"""Suite -> what makes a scenario of it by its name; None for what the library cannot do."""


def serve(suites: Suites) -> None:
    """Answer requests until there are no more."""
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print
    made: dict[tuple[str, str], Scenario | None] = {}
    for line in sys.stdin:
        suite, name, question = json.loads(line)
        if (suite, name) not in made:
            torch.manual_seed(0)
            made[suite, name] = suites[suite](name)
        scenario = made[suite, name]
        answer = None if scenario is None else QUESTIONS[question](scenario)
        print(json.dumps(answer), file=answers, flush=True)


def seconds(scenario: Scenario) -> float:
    """Return the CPU seconds of the process."""
    state = scenario.prepare()
    gc.collect()
    start = time.process_time()
    scenario.act(state)
    return time.process_time() - start


def _product(_: Any, left: Any, right: Any, **__: Any) -> int:
    return int(mm_flop(left.shape, right.shape))


def _products(_: Any, left: Any, right: Any, **__: Any) -> int:
    return int(bmm_flop(left.shape, right.shape))


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    shapes = [tensor.shape for tensor in (gradient, query, key, value)]
    return int(sdpa_backward_flop_count(*shapes))


# Beside what torch knows how to count.
OF_OPERATIONS = {
    **flop_registry,
    torch.ops.aten.addmm_: _product,
    torch.ops.aten.baddbmm_: _products,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,  # noqa: SLF001
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,  # noqa: SLF001
}


class _Counter(TorchDispatchMode):
    """Counts as torch's `FlopCounterMode` does, which fails on modules that `adapters` hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.operations += not func.is_view
        out = func(*args, **(kwargs or {}))
        if (count := OF_OPERATIONS.get(func.overloadpacket)) is not None:
            self.flops += int(count(*args, **(kwargs or {}), out_val=out))
        return out


def counts(scenario: Scenario) -> tuple[int, int]:
    """Return how many operations that are no mere views torch runs, and their multiply-adds."""
    state = scenario.prepare()
    with _Counter() as counter:
        scenario.act(state)
    return counter.operations, counter.flops // 2


QUESTIONS: Mapping[str, Callable[[Scenario], object]] = {"seconds": seconds, "counts": counts}


# --- what the libraries' scenarios have in common


def base_model() -> BertModel:
    """Return BERT-base with random weights, frozen, without a pooler."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(), add_pooling_layer=False).eval()
    return model.requires_grad_(False)


def copied(model: Any) -> Any:
    """Return a copy of a model with the very tensors of the original."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def token_ids(rows: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1000, 20000, (rows, length), generator=generator)


def forward(model: Any, shape: tuple[int, int], **options: Any) -> Scenario:
    """Return a forward pass in evaluation mode."""
    ids = token_ids(*shape)
    model.eval()

    def act(_: Any) -> None:
        with torch.no_grad():
            model(input_ids=ids, **options)

    return Scenario(act)


def training_step(model: nn.Module, shape: tuple[int, int]) -> Scenario:
    """Return forward, backward and AdamW of the parameters that ask for gradients."""
    ids = token_ids(*shape)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def act(_: Any) -> None:
        optimizer.zero_grad()
        model(input_ids=ids)[0].square().mean().backward()
        optimizer.step()

    return Scenario(act)


@torch.no_grad()
def awaken(model: nn.Module, base: nn.Module) -> None:
    """Give adapters' parameters that start at zero small random values, as training would."""
    of_base = {id(parameter) for parameter in base.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in of_base and not parameter.any():
            parameter.normal_(std=0.01)
