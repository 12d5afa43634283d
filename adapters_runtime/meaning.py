"""Which composition blocks have a meaning for which method.

The places of a model take their blocks from here, and a hub judges set-ups by it without torch.
"""

import re

from adapters_runtime.composition import (
    AdapterCompositionBlock,
    Average,
    BatchSplit,
    Fuse,
    MultiTask,
    Parallel,
    Split,
    Stack,
)

Blocks = tuple[type[AdapterCompositionBlock], ...]

_OVER_ROWS: Blocks = (Stack, BatchSplit, Parallel, MultiTask, Average)

BLOCKS: dict[str, Blocks] = {
    "bottleneck": (*_OVER_ROWS, Split, Fuse),
    "linear": (*_OVER_ROWS, Split),
    # A mixture is one of bottlenecks: of its members, the first meets the stream where it begins.
    "stream": (*_OVER_ROWS, Split, Fuse),
    "prefix_tuning": _OVER_ROWS,
    "prompt_tuning": _OVER_ROWS,
    "reft": _OVER_ROWS,
}
"""Kind of place -> the blocks that may stand around the adapters there."""

_KINDS = {
    "bottleneck": r"(\w+_)?(seq_bn|par_bn|compacter)|compacter\+\+|adapter_plus",
    "linear": r"(mtl_|peft[_:])?lora|dora|vera|dvora|(peft_)?ia3|own_biases|own_modules",
    "stream": r"embedding_rows",
    "prefix_tuning": r"(prefix_tuning|peft_prefix)",
    "prompt_tuning": r"(prompt_tuning|peft_prompt)",
    "reft": r"(lo|no|di)reft",
}


def kind_of(method: str) -> str | None:
    """Return the kind of place where a method stands, None for a method that we do not know.

    `method` is a part of what `method_name` gives.

    >>> kind_of("double_seq_bn"), kind_of("dvora"), kind_of("loreft")
    ('bottleneck', 'linear', 'reft')
    """
    return next((kind for kind, named in _KINDS.items() if re.fullmatch(named, method)), None)
