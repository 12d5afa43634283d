"""LoRAs that were trained on a changed base: PiSSA and OLoRA.

Both take a part of rank r out of each weight and begin training with it. So what has been learnt is
the difference to that beginning, which has rank 2 r and fits on the base as it is:

    W - s B0 A0 + s B A  =  W + s [B, -B0] [A; A0]

PiSSA    B0 A0 = the r greatest singular values of W, over s (https://arxiv.org/abs/2404.02948)
OLoRA    B0, A0 = r columns of Q and rows of R, W = Q R (https://arxiv.org/abs/2406.01775)
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from adapters_runtime.errors import FormatError

Start = Callable[[Tensor, int, float], tuple[Tensor, Tensor]]
"""Takes a weight (out, in), the rank and the scaling; gives A0 (r, in) and B0 (out, r)."""


def _pissa(weight: Tensor, rank: int, scaling: float) -> tuple[Tensor, Tensor]:
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    roots = (values[:rank] / scaling).sqrt()
    return roots[:, None] * right[:rank], left[:, :rank] * roots


def _olora(weight: Tensor, rank: int, _: float) -> tuple[Tensor, Tensor]:
    columns, rows = torch.linalg.qr(weight)
    return rows[:rank], columns[:, :rank]


STARTS: dict[str, Start] = {"pissa": _pissa, "olora": _olora}


@torch.no_grad()
def since(
    start: Start, module: nn.Module, parts: dict[str, Tensor], scaling: float
) -> dict[str, Tensor]:
    """Return the matrices of what was learnt since; FormatError for embeddings."""
    if isinstance(module, nn.Embedding):
        raise FormatError("a LoRA of an embedding that began as PiSSA or OLoRA cannot be loaded")
    weight: Tensor = module.weight  # type: ignore[assignment]
    plain = weight.float() if hasattr(module, "out_features") else weight.float().t()
    first, second = start(plain, len(parts["lora_A"]), scaling)
    # The beginning is as exact as the base, however short the file's numbers are.
    return {
        **parts,
        "lora_A": torch.cat([parts["lora_A"].to(first), first]),
        "lora_B": torch.cat([parts["lora_B"].to(second), -second], dim=1),
    }
