"""What an adapter adds to a forward pass of a BERT-base-sized model, on one thread."""

from benchmarks import side_by_side as sides
from benchmarks.tables import added, against_base, heading
from benchmarks.workers import shapes

BARS = {
    "no adapter": "1.00",
    "LoRA r=8 q,v": "1.05",
    "LoRA merged": "1.00",
    "seq_bn": "1.06",
}
NAMES = (
    "base again (A/A)",
    "no adapter",
    "LoRA merged",
    "LoRA r=8 q,v",
    "LoRA r=8 everywhere",
    "(IA)³",
    "prefix 30",
    "seq_bn",
    "double_seq_bn",
    "par_bn",
    "Compacter",
)


def run(rounds: int) -> None:
    with sides.workers() as asked:
        pairs = sides.able("forward", ("base", *NAMES), asked)
        counts = sides.counted("forward", pairs, asked)
        times = sides.timed("forward", sides.over_base(pairs), asked, rounds)
    heading("Forward pass, {} x {} tokens".format(*shapes.FORWARD), rounds)
    against_base(NAMES, times, BARS)
    added(NAMES, counts)
