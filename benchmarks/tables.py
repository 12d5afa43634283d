"""Figures as the tables of docs/benchmarks.md hold them."""

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.measuring import calibration, ratio
from benchmarks.side_by_side import LIBRARIES, Counts, Times

HEADINGS = {"ours": "ours", "peft": "PEFT", "adapters": "`adapters`"}


def heading(title: str, rounds: int) -> None:
    """Print a title, and by what to compare the machine."""
    print(f"\n### {title}\n")
    print(f"{rounds} rounds; calibration loop {1000 * calibration():.0f} ms CPU, ", end="")
    print(f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores.\n")


def table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
    columns = list(columns)
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def against_base(names: Iterable[str], times: Times, bars: Mapping[str, str]) -> None:
    """Print CPU time over that of the same library's own base, round by round."""
    rows = []
    for name in names:
        groups = [((library, name), (library, "base")) for library in LIBRARIES]
        cells = [interval(times[group]) if group in times else "" for group in groups]
        rows.append([name, bars.get(name, ""), *cells])
    table(["CPU time / base", "bar", *HEADINGS.values()], rows)


def added(names: Iterable[str], counts: Counts) -> None:
    """Print what a scenario adds to the base: operations, and multiply-adds in per cent."""
    print("\nOperations that are no views / multiply-adds, added to the base (exact):\n")
    rows = []
    for name in names:
        cells = [
            _added(counts[library, name], counts[library, "base"])
            if (library, name) in counts
            else ""
            for library in LIBRARIES
        ]
        rows.append([name, *cells])
    table(["added", *HEADINGS.values()], rows)


def _added(count: tuple[int, int], base: tuple[int, int]) -> str:
    percent = 100 * (count[1] - base[1]) / base[1]
    return f"{count[0] - base[0]:+d} / {percent:+.2f} %"


def interval(times: np.ndarray, of: int = 0, over: int = 1) -> str:
    """Return the ratio of two members of a group, whose times are (rounds, members)."""
    median, low, high = ratio(times[:, of], times[:, over])
    return f"{median:.3f} [{low:.3f}, {high:.3f}]"


def milliseconds(times: np.ndarray) -> str:
    p50, p95 = np.percentile(1000 * times, [50, 95])
    return f"{p50:.1f} / {p95:.1f}"
