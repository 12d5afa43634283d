"""Scores from the command line: reported, replaced, retracted, verified, ranked."""

import subprocess

import pytest
from sqlalchemy import update

from registry.models import Account
from tests.support import shelf


@pytest.fixture
def subject(logged_in):
    with logged_in.session() as session:
        adapter = shelf.add_adapter(session, logged_in.blobs, "ana/copa")
        shelf.add_version(session, adapter)
    return "ana/copa@1.0.0"


@pytest.fixture
def add(hubctl, subject):
    def add(value, *more):
        what = ("--dataset", "XCOPA", "--config", "qu", "--metric", "acc")
        return hubctl("scores", "add", subject, *what, "--value", value, *more)

    return add


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "evaluator.key"
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    subprocess.run(words, check=True)
    return path


def make_operator(hub):
    with hub.session() as session:
        session.execute(update(Account).where(Account.name == "ana").values(is_operator=True))


def test_a_score_is_replaced_and_retracted_and_its_history_stays(hubctl, add):
    assert add(0.5).code == 0
    refused = add(0.6)
    assert refused.code == 3
    assert "you reported 0.5 at the same conditions before, as score 1" in refused.err
    assert "--supersedes 1" in refused.err
    assert add(0.6, "--supersedes", 1).code == 0
    assert hubctl("scores", "retract", 2, "--reason", "wrong split").code == 0
    assert "No scores are recorded" in hubctl("scores", "ana/copa").err
    history = hubctl("scores", "show", "ana/copa", "--history").out
    assert "replaced by 2" in history
    assert "wrong split" in history


def test_an_evaluator_verifies_a_score(hubctl, logged_in, add, key, tmp_path):
    (tmp_path / "predictions.txt").write_text("yes no")
    signed = ("--verify-with", key, "--evidence", tmp_path / "predictions.txt")
    assert "no evaluator has registered the key" in add(0.5, *signed).err
    assert hubctl("evaluators", "register", key, "--label", "nightly").code == 0
    assert "waits for an operator" in add(0.5, *signed).err
    number = hubctl("evaluators", "list", "--json").json[0]["key"]
    assert hubctl("evaluators", "approve", number).code == 4
    make_operator(logged_in)
    assert "approved by ana" in hubctl("evaluators", "approve", number).out

    # Spelt as people spell it; what is signed is the hub's spelling.
    verified = add(0.5, *signed, "--json").json

    assert (verified["source"], verified["dataset"]) == ("verified", "xcopa")
    assert logged_in.blobs.read(verified["evidence"]) == b"yes no"
    assert "verified" in hubctl("scores", "ana/copa").out
    assert "revoked" in hubctl("evaluators", "revoke", number).out
    assert "verified, key revoked" in hubctl("scores", "ana/copa").out


def test_half_a_verification_and_a_wrong_key_are_refused(add, key, tmp_path):
    assert add(0.5, "--verify-with", key).code == 2
    wrong = tmp_path / "wrong"
    wrong.write_text("hello")
    ended = add(0.5, "--verify-with", wrong, "--evidence", wrong)
    assert ended.code == 1
    assert "ssh-keygen -t ed25519" in ended.err


def test_boards_are_listed_and_ranked(hubctl, add, subject):
    assert "Nothing is measured" in hubctl("leaderboard").err
    add(0.5, "--condition", "zero_shot=true", "--n", 500)
    assert "xcopa" in hubctl("leaderboard").out
    board = hubctl("leaderboard", "xcopa", "--config", "qu", "--metric", "acc").out
    assert "accuracy ↑" in board
    assert "Zero-shot (zero_shot=true)" in board
    assert subject in board
    empty = hubctl("leaderboard", "xcopa", "--metric", "acc")
    assert "`hubctl leaderboard xcopa` lists what is" in empty.err


def test_records_are_listed_and_added(hubctl, logged_in):
    make_operator(logged_in)
    listed = hubctl("records", "list", "metrics").out
    assert "perplexity" in listed
    assert "↓ lower" in listed
    ter = ("ter", "--title", "TER", "--lower-is-better", "--lower", 0, "--alias", "t")
    assert hubctl("records", "metric", *ter).code == 0
    assert hubctl("records", "task", "stance", "--title", "Stance", "--metric", "ter").code == 0
    words = ("x-stance", "--title", "X-Stance", "--task", "stance")
    assert hubctl("records", "dataset", *words, "--json").json["task"] == "stance"
    assert "x-stance" in hubctl("records", "list", "datasets").out
    assert "Stance" in hubctl("records", "list", "tasks").out
