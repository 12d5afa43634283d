"""Libraries side by side: each in its own process and environment, their runs interleaved."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import python_of

LIBRARIES = ("ours", "peft", "adapters")
Pair = tuple[str, str]
"""A library and a scenario."""
Group = tuple[Pair, ...]
"""What is compared with one another."""
Times = Mapping[Group, np.ndarray]
"""Group -> CPU seconds, (rounds, members of the group)."""
Counts = Mapping[Pair, tuple[int, int]]
"""Pair -> operations and multiply-adds."""


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


def able(suite: str, names: Iterable[str], asked: dict[str, Worker]) -> list[Pair]:
    """Return all that libraries can do; each is done once, unmeasured."""
    return [
        (library, name)
        for name in names
        for library, worker in asked.items()
        if worker.ask(suite, name, "seconds") is not None
    ]


def over_base(pairs: Iterable[Pair]) -> list[Group]:
    """Return groups of two: each scenario, and the base of the same library."""
    return [(pair, (pair[0], "base")) for pair in pairs if pair[1] != "base"]


def timed(suite: str, groups: Sequence[Group], asked: dict[str, Worker], rounds: int) -> Times:
    """Return CPU seconds; in a round every group has its turn once, in an order of chance.

    The members of a group follow one another directly, so that what slows the machine down for a
    while slows down all of them.
    """
    times: dict[Group, list[list[float]]] = {group: [] for group in groups}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for turn in rng.permutation(len(groups)):
            group = groups[turn]
            seconds = [0.0] * len(group)
            for member in rng.permutation(len(group)):
                library, name = group[member]
                seconds[member] = asked[library].ask(suite, name, "seconds")
            times[group].append(seconds)
    return {group: np.array(values) for group, values in times.items()}


def counted(suite: str, pairs: Iterable[Pair], asked: dict[str, Worker]) -> Counts:
    return {
        (library, name): tuple(asked[library].ask(suite, name, "counts")) for library, name in pairs
    }
