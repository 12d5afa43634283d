"""Boards rank what can be compared, in the metric's direction, and nothing else."""

import io
import random

import pytest

from registry import evaluators, leaderboards, scores, statements
from registry.errors import InvalidScore
from registry.schemas import BoardKey, ExternalSubject, ScoreIn, VerificationIn
from registry.score_subjects import external_digest
from tests.support import shelf

BOARD = BoardKey(dataset="xcopa", config="qu", language="qu", metric="accuracy")


@pytest.fixture
def subjects(session, blobs):
    return [
        shelf.add_version(session, shelf.add_adapter(session, blobs, f"acme/a{i}")).content
        for i in range(6)
    ]


def report(session, subject, account, value, **changes):
    fields = BOARD.model_dump() | {"value": value, "conditions": {"zero_shot": True}} | changes
    return scores.record(session, ScoreIn(subject=subject, **fields), account)


def ranked(entries):
    return [(entry.rank, entry.score.value) for entry in entries]


def test_values_are_ranked_in_the_direction_of_the_metric(session, subjects, ana):
    for subject, value in zip(subjects, (0.5, 0.7, 0.7, 0.1), strict=False):
        report(session, subject, ana, value)
        report(session, subject, ana, 10 * value + 1, metric="perplexity")
    (group,) = leaderboards.board(session, BOARD, None).groups
    assert ranked(group.reported) == [(1, 0.7), (1, 0.7), (3, 0.5), (4, 0.1)]
    falling = BOARD.model_copy(update={"metric": "ppl"})  # an alias
    (group,) = leaderboards.board(session, falling, None).groups
    assert ranked(group.reported) == [(1, 2), (2, 6), (3, 8), (3, 8)]
    assert group.reported[0].score.ref == "acme/a3@1.0.0"


def test_what_was_measured_otherwise_is_not_compared(session, subjects, ana):
    for number, conditions in enumerate(
        ({"zero_shot": False}, {}, {"zero_shot": True, "shots": 5}, {"zero_shot": True, "seed": 1})
    ):
        report(session, subjects[number], ana, 0.5, conditions=conditions)
    report(session, subjects[4], ana, 0.9, split="dev")
    report(session, subjects[5], ana, 0.9, language="sw")
    groups = leaderboards.board(session, BOARD, None).groups
    assert [(group.transfer, group.conditions) for group in groups] == [
        ("zero-shot", {"shots": 5, "zero_shot": True}),
        ("zero-shot", {"zero_shot": True}),
        ("fine-tuned", {"zero_shot": False}),
        ("not stated", {}),
    ]
    assert leaderboards.board(session, BOARD.model_copy(update={"split": "no"}), None).groups == []
    with pytest.raises(InvalidScore, match="no metric"):
        leaderboards.board(session, BOARD.model_copy(update={"metric": "xyzzy"}), None)


def test_verified_scores_are_ranked_apart(
    session,
    blobs,
    subjects,
    ana,
    ben,
    key,
    private,
    operator,
):
    evaluators.approve(session, key, operator)
    stored = blobs.store(io.BytesIO(b"predictions"))
    evaluators.record_evidence(session, stored, ana)
    evidence = f"sha256:{stored.sha256}"
    report(session, subjects[0], ben, 0.9)
    body = ScoreIn(subject=subjects[0], **BOARD.model_dump(), value=0.6)
    body = body.model_copy(update={"conditions": {"zero_shot": True}})
    signature = statements.sign(private, statements.statement(body, evidence))
    proof = VerificationIn(key=key.key, evidence=evidence, signature=signature)
    verified = body.model_copy(update={"source": "verified", "verification": proof})
    scores.record(session, verified, ana)

    (group,) = leaderboards.board(session, BOARD, None).groups
    assert (ranked(group.verified), ranked(group.reported)) == ([(1, 0.6)], [(1, 0.9)])
    (summary,) = leaderboards.boards(session, None)
    assert (summary.scores, summary.verified, summary.best) == (2, 1, 0.9)

    evaluators.revoke(session, key, ana)
    (group,) = leaderboards.board(session, BOARD, None).groups
    assert (ranked(group.verified), ranked(group.reported)) == ([], [(1, 0.9), (2, 0.6)])


def test_retracted_superseded_and_private_scores_are_on_no_board(
    session, blobs, subjects, ana, ben
):
    old = report(session, subjects[0], ana, 0.5)
    report(session, subjects[0], ana, 0.6, supersedes=old.id)
    scores.retract(session, report(session, subjects[1], ana, 0.9), ana, "wrong split")
    secret = shelf.add_adapter(session, blobs, "ana/secret", visibility="private")
    report(session, shelf.add_version(session, secret).content, ana, 0.8)
    for viewer, seen in ((None, [0.6]), (ben, [0.6]), (ana, [0.8, 0.6])):
        (group,) = leaderboards.board(session, BOARD, viewer).groups
        assert [entry.score.value for entry in group.reported] == seen
        assert [each.scores for each in leaderboards.boards(session, viewer)] == [len(seen)]


def test_an_external_subject_is_shown_and_is_imported_only(session, subjects, ana):
    subject = ExternalSubject(
        source="paper", name="MAD-X", base="xlm-roberta-base", configuration={"using": "pfeiffer"}
    )
    digest = external_digest(subject)
    with pytest.raises(InvalidScore, match="is 'imported'"):
        report(session, digest, ana, 0.6, external=subject)
    with pytest.raises(InvalidScore, match="the external subject has the digest"):
        report(session, subjects[0], ana, 0.6, external=subject, source="imported")
    report(session, digest, ana, 0.6, external=subject, source="imported")
    report(session, digest, ana, 0.5, source="imported", split="dev")  # by now it is known
    (group,) = leaderboards.board(session, BOARD, None).groups
    assert group.reported[0].score.external == subject


@pytest.mark.parametrize("seed", range(3))
def test_the_list_agrees_with_a_naive_count(session, subjects, ana, ben, seed):
    """Many reports at random, counted once more by hand."""
    chance = random.Random(seed)
    expected = {}
    for _ in range(40):
        subject, account = chance.choice(subjects), chance.choice((ana, ben))
        metric, split = chance.choice(("accuracy", "loss")), chance.choice(("test", "dev"))
        value, stated = chance.random(), chance.choice(({}, {"zero_shot": True}))
        place = (split, metric)
        who = (subject, account.id, bool(stated))
        last = expected.setdefault(place, {}).get(who)
        score = report(
            session, subject, account, value, metric=metric, split=split, conditions=stated,
            supersedes=None if last is None else last[0],
        )  # fmt: skip
        expected[place][who] = (score.id, value)
    for each in leaderboards.boards(session, None, dataset="XCOPA"):
        values = [value for _, value in expected.pop((each.split, each.metric)).values()]
        best = max(values) if each.metric == "accuracy" else min(values)
        assert (each.scores, each.best) == (len(values), best)
    assert expected == {}
