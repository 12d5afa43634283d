"""A disk that is full or fails: said in words, nothing half-published, and the repeat succeeds."""

import pytest

from tests.durability.mortal import record

# The client's own habit, not ours.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SAMPLED = 4
WORDS = {"full_from": "no room left", "fail_at": "storage failed"}


def with_faults(mortal, kind, numbers):
    """Push once per number, the fault beginning at that step; returns how many pushes failed."""
    failed = 0
    for number in numbers:
        folder = mortal.next_folder()
        mortal.live(**{kind: number})
        ended = mortal.push(folder)
        mortal.nothing_is_half_published(folder)
        if ended.code:
            failed += 1
            assert WORDS[kind] in ended.json["error"]["message"], (number, ended)
        mortal.live()
        assert mortal.push(folder).code == 0
        assert mortal.nothing_is_half_published(folder) == 1
    mortal.the_rest_goes()
    return failed


@pytest.mark.parametrize("kind", WORDS)
def test_a_fault_at_some_steps_is_survived(mortal, tmp_path, kind):
    steps, _ = record(mortal, tmp_path)
    numbers = [1 + index * (len(steps) - 1) // SAMPLED for index in range(SAMPLED)]
    assert with_faults(mortal, kind, numbers) > 0


@pytest.mark.long
@pytest.mark.parametrize("kind", WORDS)
def test_a_fault_at_every_step_is_survived(mortal, tmp_path, kind):
    steps, _ = record(mortal, tmp_path)
    assert with_faults(mortal, kind, range(1, len(steps) + 1)) > 0


def test_the_systems_own_limit_is_told_and_lifted(mortal):
    """No hook here: the kernel refuses to let a file grow beyond 1,500 bytes."""
    folder = mortal.next_folder()
    mortal.live(file_limit=1_500)
    ended = mortal.push(folder)
    assert ended.code == 1
    message = ended.json["error"]["message"]
    assert "no room left" in message or "storage failed" in message
    assert mortal.nothing_is_half_published(folder) == 0
    mortal.live()
    assert mortal.push(folder).code == 0
    mortal.the_rest_goes()
