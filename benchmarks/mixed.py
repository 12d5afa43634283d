"""A batch whose rows have adapters of their own."""

from benchmarks import side_by_side as sides
from benchmarks.tables import added, against_base, heading, interval
from benchmarks.workers import shapes

REFERENCE = "plain torch, 8 LoRAs"
AGAINST_TORCH = (("ours", "8 LoRAs"), ("ours", REFERENCE))
NAMES = ("base again (A/A)", "1 LoRA", REFERENCE, "8 LoRAs", "8 seq_bn", "8 (IA)³")


def run(rounds: int) -> None:
    with sides.workers() as asked:
        pairs = sides.able("rows", ("base", *NAMES), asked)
        counts = sides.counted("rows", pairs, asked)
        times = sides.timed("rows", [*sides.over_base(pairs), AGAINST_TORCH], asked, rounds)
    heading("Mixed batches, {} x {} tokens, 8 adapters".format(*shapes.ROWS), rounds)
    against_base(NAMES, times, {})
    over = interval(times[AGAINST_TORCH])
    print(f"\nOurs over plain torch, 8 LoRAs (bar: 1.02): {over}")
    added(NAMES, counts)
