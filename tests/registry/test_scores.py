"""Scores are checked when they come in, are never overwritten, and show nobody what is private."""

import pytest

from registry import accounts, records, resolve, revisions, scores
from registry.candidates import candidates_for
from registry.errors import InvalidRecipe, InvalidScore, NotAllowed, ScoreExists
from registry.models import Score, Setup
from registry.schemas import BaseIdentity, Need, Recipe, ScoreIn
from tests.registry.manifests import digest
from tests.support import shelf
from tests.support.shelf import BASE


@pytest.fixture
def adapters(session, blobs):
    """Two public adapters: a language pack and a task adapter that was trained on such a one."""
    pack = shelf.add_adapter(session, blobs, "lab/qu")
    shelf.add_version(session, pack, **shelf.language_pack("qu"))
    copa = shelf.add_adapter(session, blobs, "acme/copa")
    shelf.add_version(session, copa)
    return {"lang": pack, "task": copa}


def content_of(adapter):
    return adapter.versions[0].content


def body(subject, **changes):
    fields = {"dataset": "xcopa", "config": "qu", "language": "qu", "metric": "accuracy"}
    return ScoreIn(subject=subject, **(fields | {"value": 0.5, "n": 500} | changes))


def resolution(session, viewer=None, **slots):
    slots = {"lang": "lab/qu", "task": "acme/copa"} | slots
    base = BaseIdentity(**BASE)
    recipe = Recipe(base=base, slots=slots, setup={"Stack": ["lang", "task"]})
    return resolve.resolve(recipe, *candidates_for(session, recipe, viewer))


def values(found):
    return [score.value for score in found]


def test_a_score_of_a_content_is_kept_with_how_to_read_it(session, adapters, ana):
    subject = content_of(adapters["task"])
    scores.record(session, body(subject, conditions={"seed": 42}, stderr=0.02), ana)

    (score,) = scores.for_subject(session, subject, None)

    assert (score.value, score.n, score.stderr, score.conditions) == (0.5, 500, 0.02, {"seed": 42})
    assert (score.higher_is_better, score.unit, score.reported_by) == (True, "fraction", "ana")
    assert score.slots == {}


def test_a_score_of_a_set_up_is_kept_with_its_lock(session, adapters, ana):
    found = resolution(session, lang=Need(language="qu"))
    scores.record(session, body(found.digest, lock=found.lock), ana)
    scores.record(session, body(found.digest, split="validation"), ana)  # by now it is known

    listed = scores.for_subject(session, found.digest, None)

    assert [score.split for score in listed] == ["test", "validation"]
    assert listed[0].slots == {"lang": "lab/qu@1.0.0", "task": "acme/copa@1.0.0"}
    assert session.get(Setup, found.digest).lock == found.lock


def test_the_last_word_of_each_reporter_counts_and_the_history_stays(session, adapters, ana, ben):
    subject = content_of(adapters["task"])
    first = scores.record(session, body(subject, value=0.4), ana)
    second = scores.record(session, body(subject, value=0.5, supersedes=first.id), ana)
    scores.record(session, body(subject, value=0.6), ben)
    scores.record(session, body(subject, value=0.1, conditions={"seed": 1}), ana)

    assert sorted(values(scores.for_subject(session, subject, None))) == [0.1, 0.5, 0.6]
    assert session.query(Score).count() == 4
    history = scores.for_subject(session, subject, None, history=True)
    assert {each.id: each.superseded_by for each in history}[first.id] == second.id
    assert sum(each.stands for each in history) == 3


def test_another_value_at_the_same_conditions_must_say_what_it_replaces(session, adapters, ana):
    subject = content_of(adapters["task"])
    first = scores.record(session, body(subject, value=0.4), ana)
    with pytest.raises(ScoreExists, match=f"you reported 0.4 .* as score {first.id}") as refused:
        scores.record(session, body(subject, value=0.5), ana)
    assert refused.value.hint.endswith(f"--supersedes {first.id}")
    with pytest.raises(ScoreExists):
        scores.record(session, body(subject, value=0.5, supersedes=first.id + 1), ana)
    with pytest.raises(InvalidScore, match="not your last word"):
        scores.record(session, body(subject, split="dev", supersedes=first.id), ana)
    assert values(scores.for_subject(session, subject, None)) == [0.4]


def test_saying_the_same_again_adds_nothing(session, adapters, ana):
    subject = content_of(adapters["task"])
    first = scores.record(session, body(subject), ana)
    assert scores.record(session, body(subject), ana) is first
    assert session.query(Score).count() == 1


def test_a_retracted_score_stays_in_the_history_and_what_it_replaced_stays_away(
    session, adapters, ana, ben
):
    subject = content_of(adapters["task"])
    first = scores.record(session, body(subject, value=0.4), ana)
    score = scores.record(session, body(subject, value=0.9, supersedes=first.id), ana)
    with pytest.raises(NotAllowed, match="by who reported it"):
        scores.retract(session, score, ben, "too good")

    scores.retract(session, score, ana, "evaluated on the training split")

    assert scores.for_subject(session, subject, None) == []
    assert session.query(Score).count() == 2
    taken_back = scores.for_subject(session, subject, None, history=True)[0]
    assert (taken_back.retracted_by, taken_back.retraction_reason) == (
        "ana",
        "evaluated on the training split",
    )
    scores.record(session, body(subject, value=0.9), ana)  # measured again, and right this time
    assert values(scores.for_subject(session, subject, None)) == [0.9]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"metric": "acuracy"}, "no metric 'acuracy'; did you mean accuracy"),
        ({"metric": "xyzzy"}, "known are accuracy, "),
        (
            {"value": 56.2},
            "accuracy is a fraction from 0 to 1; if 56.2 is a percentage, write 0.562",
        ),
        ({"value": -0.1}, "-0.1 is out of bounds"),
        ({"value": float("nan")}, "not a finite number"),
        ({"value": float("inf"), "metric": "perplexity"}, "not a finite number"),
        ({"value": 0.5, "metric": "perplexity"}, "perplexity of at least 1"),
        ({"stderr": float("inf")}, "the standard error inf is not a finite number"),
        ({"language": "quechua please"}, "no BCP-47 language tag"),
        ({"dataset": " "}, "dataset must be 1 to 200 printable characters"),
        ({"split": "te\nst"}, "split must be"),
        ({"conditions": {"note": "x" * 5000}}, "the conditions take 5,011 bytes"),
        ({"source": "verified"}, "when an evaluator's key signs it"),
        ({"subject": digest("nothing")}, "no adapter and no set-up here"),
    ],
)
def test_a_score_that_cannot_be_right_is_refused(session, adapters, ana, changes, complaint):
    subject = content_of(adapters["task"])
    with pytest.raises(InvalidScore, match=complaint):
        scores.record(session, body(**({"subject": subject} | changes)), ana)
    assert session.query(Score).count() == 0


def test_losses_and_points_have_their_own_bounds(session, adapters, ana):
    subject = content_of(adapters["task"])
    for metric, value in (("mlm_loss", 3.9), ("bleu", 56.2), ("mcc", -0.5), ("wer", 1.2)):
        scores.record(session, body(subject, metric=metric, value=value), ana)
    listed = {score.metric: score for score in scores.for_subject(session, subject, None)}
    assert listed["mlm_loss"].higher_is_better is False
    assert listed["mlm_loss"].unit == "nats"
    assert listed["bleu"].unit == "points"


# --- set-ups that cannot be recorded -------------------------------------------------------------


def edited(lock, slot, **changes):
    return lock | {"slots": lock["slots"] | {slot: lock["slots"][slot] | changes}}


def test_a_lock_must_be_what_its_digest_says(session, adapters, ana):
    found = resolution(session)
    lock = edited(found.lock, "lang", load={"leave_out": [1]})
    with pytest.raises(InvalidScore, match="the lock has the set-up digest"):
        scores.record(session, body(found.digest, lock=lock), ana)
    with pytest.raises(InvalidRecipe, match="this is not a lock"):
        scores.record(session, body(found.digest, lock={"slots": 7}), ana)


@pytest.mark.parametrize(
    "changes",
    [
        {"ref": "lab/other@1.0.0"},
        {"ref": "acme/copa@1.0.0"},
        {"ref": "lab/qu@2.0.0"},
        {"revision": "f" * 40},
    ],
)
def test_a_lock_may_not_call_its_parts_what_they_are_not(session, adapters, ana, changes):
    """Its digest covers contents only, so names could otherwise be made up."""
    found = resolution(session)
    lock = edited(found.lock, "lang", **changes)
    with pytest.raises(InvalidScore, match="slot 'lang' of the lock"):
        scores.record(session, body(found.digest, lock=lock), ana)


# --- who sees what -------------------------------------------------------------------------------


@pytest.fixture
def private_pack(session, blobs, ana):
    adapter = shelf.add_adapter(session, blobs, "ana/qu", visibility="private")
    shelf.add_version(session, adapter, **shelf.language_pack("qu"))
    return adapter


def test_scores_of_what_is_private_are_seen_by_its_owner_only(
    session, adapters, private_pack, ana, ben
):
    subject = content_of(private_pack)
    scores.record(session, body(subject), ana)
    assert values(scores.for_subject(session, subject, ana)) == [0.5]
    assert scores.for_subject(session, subject, ben) == []
    with pytest.raises(InvalidScore, match="no adapter and no set-up here"):
        scores.record(session, body(subject), ben)


def test_a_set_up_with_a_private_part_is_private(session, adapters, private_pack, ana, ben):
    found = resolution(session, ana, lang="ana/qu")
    with pytest.raises(InvalidScore, match="slot 'lang'"):
        scores.record(session, body(found.digest, lock=found.lock), ben)
    scores.record(session, body(found.digest, lock=found.lock), ana)

    task = adapters["task"]
    assert values(scores.for_adapter(session, task, ana)) == [0.5]
    assert scores.for_adapter(session, task, ben) == []
    assert scores.for_adapter(session, task) == []
    assert scores.for_subject(session, found.digest, None) == []


def test_an_adapter_shows_its_own_scores_and_those_of_its_set_ups(session, adapters, ana):
    found = resolution(session)
    scores.record(session, body(content_of(adapters["task"]), value=0.7), ana)
    scores.record(session, body(found.digest, lock=found.lock, value=0.6), ana)
    scores.record(session, body(content_of(adapters["lang"]), metric="mlm_loss", value=3), ana)

    assert sorted(values(scores.for_adapter(session, adapters["task"]))) == [0.6, 0.7]
    assert sorted(values(scores.for_adapter(session, adapters["lang"]))) == [0.6, 3]


def test_a_part_whose_name_is_private_goes_by_its_content(session, blobs, adapters, ana):
    """A set-up is as public as its contents; which private adapter also has one is nobody's."""
    found = resolution(session)
    scores.record(session, body(found.digest, lock=found.lock), ana)
    owner = accounts.find(session, "lab")
    revisions.set_visibility(session, adapters["lang"], "private", owner)
    assert scores.for_subject(session, found.digest, None) == []

    copy = shelf.add_version(session, shelf.add_adapter(session, blobs, "acme/qu"))
    copy.manifest.content = content_of(adapters["lang"])
    session.flush()

    (score,) = scores.for_subject(session, found.digest, None)
    assert score.slots["lang"] == content_of(adapters["lang"])
    (score,) = scores.for_subject(session, found.digest, owner)
    assert score.slots["lang"] == "lab/qu@1.0.0"


def test_metrics_say_how_they_are_read(session):
    known = {metric.name: metric for metric in records.metrics(session)}
    assert {"accuracy", "f1_macro", "mlm_loss", "bleu", "pearson"} <= set(known)
    assert known["perplexity"].higher_is_better is False
    assert (known["balanced_accuracy"].lower, known["balanced_accuracy"].upper) == (0, 1)
