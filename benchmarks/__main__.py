"""Run the benchmarks: `python -m benchmarks [SUITE ...]`.

Without a name all run but `cuda`, which needs a GPU.

Figures are printed, never asserted. Ratios are measured side by side in one run, interleaved, with
an A/A control that says how much of a ratio is noise; absolute figures are CPU time, beside a
calibration loop by which machines can be compared. `adapters` and PEFT, with which the runtime is
compared, get environments of their own in `.bench/`.
"""

import argparse
from importlib import import_module

SUITES = ("forward", "training", "mixed", "fusion", "loading", "search")
ON_REQUEST = ("cuda",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, *ON_REQUEST, []], default=[])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    for suite in options.suites or SUITES:
        import_module(f"benchmarks.{suite}").run(options.rounds)


if __name__ == "__main__":
    main()
