"""What it costs to give a BERT-base-sized model an adapter from a folder, and to swap it."""

from benchmarks import side_by_side as sides
from benchmarks.tables import HEADINGS, heading, milliseconds, table
from benchmarks.workers import shapes

BARS = {
    "first": "60",
    "one more, 1 loaded": "25",
    "one more, 32 loaded": "25",
    "swap in place": "8",
}
NAMES = ("first", "first seq_bn", "first, base hashed and compared", *shapes.LOADED)


def run(rounds: int) -> None:
    with sides.workers() as asked:
        pairs = sides.able("loading", NAMES, asked)
        times = sides.timed("loading", [(pair,) for pair in pairs], asked, rounds)
    heading("Load and activate a LoRA, BERT-base size", rounds)
    rows = []
    for name in NAMES:
        cells = [times.get(((library, name),)) for library in HEADINGS]
        rows.append(
            [name, BARS.get(name, ""), *["" if c is None else milliseconds(c) for c in cells]]
        )
    table(["CPU ms, p50 / p95", "bar", *HEADINGS.values()], rows)
