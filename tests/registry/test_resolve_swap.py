"""One slot of a lock is replaced and nothing else, or the swap is refused with the reason."""

import pytest

from registry import resolve as resolving
from registry.errors import InvalidRecipe, ResolutionImpossible
from registry.schemas import Lock, Need
from registry.setup import setup_digest
from tests.registry.candidates import base, digest, language, recipe, task

QU = language("lab/qu@1.0.0")
COPA = task("acme/copa@1.0.0")
SW = language("lab/sw@2.0.0", "sw")


def swap(candidates, slots, options=None):
    lock = Lock.model_validate(
        resolving.resolve(recipe(), {"lang": [QU], "task": [COPA]}, base()).lock
    )
    return lock, resolving.swap(lock, slots, candidates, base(), options)


def test_a_swap_replaces_one_slot_and_nothing_else():
    lock, swapped = swap({"lang": [SW], "task": [COPA]}, {"lang": Need(language="sw")})

    assert swapped.lock["slots"]["lang"]["ref"] == "lab/sw@2.0.0"
    before = lock.model_dump(mode="json", by_alias=True)
    assert {**swapped.lock, "slots": None} == {**before, "slots": None}
    assert swapped.lock["slots"]["task"] == before["slots"]["task"]
    assert swapped.digest == setup_digest(Lock.model_validate(swapped.lock))


def test_swapping_back_gives_the_first_lock():
    lock, swapped = swap({"lang": [SW], "task": [COPA]}, {"lang": Need(language="sw")})
    there = Lock.model_validate(swapped.lock)
    back = resolving.swap(there, {"lang": "lab/qu"}, {"lang": [QU], "task": [COPA]}, base())
    assert back.lock == lock.model_dump(mode="json", by_alias=True)


def test_a_kept_version_may_have_been_yanked_meanwhile():
    yanked = task("acme/copa@1.0.0")
    yanked = type(yanked)(**{**vars(yanked), "state": "yanked"})
    _, swapped = swap({"lang": [SW], "task": [yanked]}, {"lang": Need(language="sw")})
    assert swapped.lock["slots"]["task"]["content"] == COPA.content
    assert "this version is yanked" in swapped.warnings[0]


def test_a_swap_that_breaks_the_contract_is_refused_with_the_reason():
    with pytest.raises(ResolutionImpossible) as caught:
        swap(
            {"lang": [language("lab/sw", "sw", method="lora")], "task": [COPA]}, {"lang": "lab/sw"}
        )
    assert "its method is lora, in training it was seq_bn" in caught.value.reasons["lang"][0]


def test_a_swap_of_a_slot_that_the_lock_lacks_is_refused():
    with pytest.raises(InvalidRecipe, match="no slot 'language'; it has lang, task"):
        swap({}, {"language": Need(language="sw")})


def test_an_edited_lock_is_noticed():
    edited = type(COPA)(**{**vars(COPA), "content": digest("something else")})
    with pytest.raises(InvalidRecipe, match="was the lock edited"):
        swap({"lang": [SW], "task": [edited]}, {"lang": "lab/sw"})
