"""What a training step costs: forward, backward and AdamW of an adapter in a frozen base."""

from benchmarks import side_by_side as sides
from benchmarks.tables import HEADINGS, added, against_base, heading, interval, table
from benchmarks.workers import shapes

NAMES = ("LoRA r=8 q,v", "(IA)³", "prefix 30", "seq_bn", "double_seq_bn", "par_bn", "Compacter")
AGAIN = f"{NAMES[0]} again"


def run(rounds: int) -> None:
    with sides.workers() as asked:
        pairs = sides.able("training", ("base", *NAMES), asked)
        pairs += [("ours", AGAIN)]
        asked["ours"].ask("training", AGAIN, "seconds")
        counts = sides.counted("training", pairs, asked)
        times = sides.timed("training", pairs, asked, rounds)
    heading("Training step, {} x {} tokens".format(*shapes.TRAINING), rounds)
    against_base(NAMES, times, {})
    print("\nOurs over each peer's, round by round (bar: 1.00 of the faster one):\n")
    table(["CPU time, ours / peer's", "PEFT", "`adapters`"], _against_peers(times))
    added(NAMES, counts)


def _against_peers(times: sides.Times) -> list[list[str]]:
    same = [interval(times["ours", AGAIN], times["ours", NAMES[0]])] * 2
    rows = [["A/A: LoRA again / LoRA, both ours", *same]]
    for name in ("base", *NAMES):
        label = "forward pass of the base" if name == "base" else name
        peers = [(peer, name) for peer in HEADINGS if peer != "ours"]
        rows.append(
            [label, *[interval(times["ours", name], times[p]) if p in times else "" for p in peers]]
        )
    return rows
