"""AdapterFusion, and averages of outputs, of bottlenecks."""

from benchmarks import side_by_side as sides
from benchmarks.tables import added, against_base, heading
from benchmarks.workers import shapes

NAMES = ("base again", "Fuse 2", "Fuse 4", "Fuse 8", "Average 8")


def run(rounds: int) -> None:
    with sides.workers() as asked:
        pairs = sides.able("fusion", ("base", *NAMES), asked)
        counts = sides.counted("fusion", pairs, asked)
        times = sides.timed("fusion", sides.over_base(pairs), asked, rounds)
    heading("Fusion of seq_bn, {} x {} tokens".format(*shapes.FUSION), rounds)
    against_base(NAMES, times, {"base again": "(A/A)", "Fuse 8": "1.40"})
    added(NAMES, counts)
