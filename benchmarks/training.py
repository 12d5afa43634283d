"""What a training step costs: forward, backward and AdamW of an adapter in a frozen base."""

import numpy as np

from benchmarks import side_by_side as sides
from benchmarks.tables import added, heading, interval, table
from benchmarks.workers import shapes

NAMES = (
    "LoRA r=8 q,v",
    "DoRA",
    "(IA)³",
    "prefix 30",
    "prefix 30 by an MLP",
    "10 prompt tokens",
    "LoReFT",
    "seq_bn",
    "double_seq_bn",
    "par_bn",
    "seq_bn_inv",
    "Compacter",
    "Mix-and-Match",
    "UniPELT",
)
AGAIN = f"{NAMES[0]} again"
AA = (("ours", AGAIN), ("ours", NAMES[0]))


def run(rounds: int) -> None:
    with sides.workers() as asked:
        pairs = sides.able("training", ("base", *NAMES), asked)
        pairs += sides.able("training", [AGAIN], {"ours": asked["ours"]})
        counts = sides.counted("training", pairs, asked)
        groups = [_group(name, pairs) for name in ("base", *NAMES)]
        times = sides.timed("training", [AA, *groups], asked, rounds)
    heading("Training step, {} x {} tokens".format(*shapes.TRAINING), rounds)
    print("Ours over each peer's, round by round (bar: 1.00 of the faster one):\n")
    rows = [["A/A: LoRA again / LoRA, both ours", *[interval(times[AA])] * 2]]
    rows += [_against_peers(group, times[group]) for group in groups]
    table(["CPU time, ours / peer's", "PEFT", "`adapters`"], rows)
    added(NAMES, counts)


def _group(name: str, pairs: list[sides.Pair]) -> sides.Group:
    return tuple((library, name) for library in sides.LIBRARIES if (library, name) in pairs)


def _against_peers(group: sides.Group, times: np.ndarray) -> list[str]:
    name = group[0][1]
    places = {library: place for place, (library, _) in enumerate(group)}
    cells = [
        interval(times, 0, places[peer]) if peer in places else ""
        for peer in sides.LIBRARIES
        if peer != "ours"
    ]
    return ["forward pass of the base" if name == "base" else name, *cells]
