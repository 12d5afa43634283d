"""CPU time, medians, and how sure a ratio is."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def cpu_seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def calibration() -> float:
    """Return the CPU seconds of a fixed piece of work, to compare machines by."""
    a = np.random.default_rng(0).random((512, 512))
    return min(cpu_seconds(lambda: [a @ a for _ in range(20)]) for _ in range(5))


def interleaved(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Return the CPU seconds of each action per round; in a round, every action runs once."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    names = list(actions)
    rng = np.random.default_rng(0)
    for _ in range(rounds + 1):
        for index in rng.permutation(len(names)):
            times[names[index]].append(cpu_seconds(actions[names[index]]))
    return {name: np.array(values[1:]) for name, values in times.items()}  # the first warms up


def ratio(times: np.ndarray, base: np.ndarray) -> tuple[float, float, float]:
    """Return the median of the ratios round by round, with a 95 % bootstrap interval."""
    ratios = times / base
    rng = np.random.default_rng(0)
    medians = np.median(ratios[rng.integers(0, len(ratios), (2000, len(ratios)))], axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(np.median(ratios)), float(low), float(high)


def percentiles(values: Sequence[float]) -> str:
    """Return `p50 / p95` in milliseconds."""
    p50, p95 = np.percentile(np.array(values) * 1000, [50, 95])
    return f"{p50:8.1f} / {p95:8.1f}"
