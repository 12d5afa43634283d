"""A server killed anywhere in a push: nothing half-published, and the push can be repeated.

The process is real, and so are SIGKILL, the databases and the client. What each cycle checks:
no visible version lacks a byte; the same push again succeeds; collecting without grace, beside the
running server, removes all the rest; and scrubbing finds nothing.
"""

import os
import random
import signal
import sys
import threading

import pytest

from tests.durability.mortal import record

# The client's own habit, not ours.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

RANDOM_KILLS = 200
SAMPLED_STEPS, SAMPLED_KILLS = 9, 3


def at_steps(mortal, tmp_path, chosen):
    steps, _ = record(mortal, tmp_path)
    kinds = {step.partition(" ")[0] for step in steps}
    assert kinds >= {"write", "fsync", "replace", "statement", "commit", "committed", "answer"}
    numbers = chosen(len(steps))
    failed = 0
    for number in numbers:
        failed += mortal.cycle(mortal.next_folder(), kill_at=number)
        if number % 50 == 0:
            mortal.the_rest_goes()
    mortal.the_rest_goes()
    say(f"killed at {len(numbers)} of {len(steps)} steps; {failed} pushes failed, all repeated")


def at_random(mortal, tmp_path, kills):
    took = min(record(mortal, tmp_path)[1] for _ in range(2))  # the first one warms the client up
    rng, failed = random.Random(7), 0
    for number in range(kills):
        folder = mortal.next_folder()
        killer = threading.Timer(rng.uniform(0, took), os.kill, (mortal.live(), signal.SIGKILL))
        killer.start()
        first = mortal.push(folder)
        killer.join()
        failed += first.code != 0
        mortal.nothing_is_half_published(folder)
        assert mortal.push(folder).code == 0
        assert mortal.nothing_is_half_published(folder) == 1
        if number % 50 == 0:
            mortal.the_rest_goes()
    mortal.the_rest_goes()
    say(f"killed at {kills} random moments; {failed} pushes failed, all repeated")


def say(figures):
    sys.stdout.write(f"{figures}\n")  # for whoever asks: `pytest -s`


def test_a_push_survives_kills_at_some_steps_and_moments(mortal, tmp_path):
    def some(count):
        return [1 + index * (count - 1) // (SAMPLED_STEPS - 1) for index in range(SAMPLED_STEPS)]

    at_steps(mortal, tmp_path, some)
    at_random(mortal, tmp_path, SAMPLED_KILLS)


@pytest.mark.long
def test_a_push_survives_a_kill_at_every_step(mortal, tmp_path):
    at_steps(mortal, tmp_path, lambda count: range(1, count + 1))


@pytest.mark.long
def test_a_push_survives_kills_at_random_moments(mortal, tmp_path):
    at_random(mortal, tmp_path, RANDOM_KILLS)
