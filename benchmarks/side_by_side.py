"""Libraries side by side: each in its own process and environment, their runs interleaved."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import python_of

LIBRARIES = ("ours", "peft", "adapters")
Times = Mapping[tuple[str, str], np.ndarray]
"""(library, scenario) -> CPU seconds per round."""
Counts = Mapping[tuple[str, str], tuple[int, int]]
"""(library, scenario) -> operations and multiply-adds."""


class Worker:
    """A process that does scenarios of one library; see `benchmarks.workers.serving`."""

    def __init__(self, library: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
        # What libraries log says nothing of this comparison.
        self.process = subprocess.Popen(
            [python_of(library), "-W", "ignore", "-m", f"benchmarks.workers.{library}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, "TRANSFORMERS_VERBOSITY": "error"},
        )

    def ask(self, suite: str, scenario: str, question: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([suite, scenario, question]) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"{self.process.args} died at {suite}: {scenario}")
        return json.loads(line)

    def close(self) -> None:
        self.process.communicate()


@contextmanager
def workers(libraries: Iterable[str] = LIBRARIES) -> Iterator[dict[str, Worker]]:
    with ExitStack() as stack:
        started = {library: Worker(library) for library in libraries}
        for worker in started.values():
            stack.callback(worker.close)
        yield started


def able(suite: str, names: Iterable[str], asked: dict[str, Worker]) -> list[tuple[str, str]]:
    """Return (library, scenario) of all that libraries can do; each is done once, unmeasured."""
    return [
        (library, name)
        for name in names
        for library, worker in asked.items()
        if worker.ask(suite, name, "seconds") is not None
    ]


def timed(suite: str, pairs: list[tuple[str, str]], asked: dict[str, Worker], rounds: int) -> Times:
    """Return CPU seconds; in a round every pair has its turn once, in an order of chance."""
    times: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for index in rng.permutation(len(pairs)):
            library, name = pairs[index]
            times[library, name].append(asked[library].ask(suite, name, "seconds"))
    return {pair: np.array(values) for pair, values in times.items()}


def counted(suite: str, pairs: list[tuple[str, str]], asked: dict[str, Worker]) -> Counts:
    return {
        (library, name): tuple(asked[library].ask(suite, name, "counts")) for library, name in pairs
    }
