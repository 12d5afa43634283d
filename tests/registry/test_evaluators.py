"""A verified score is signed by a key that an operator approved, over evidence that is here."""

import io
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from registry import evaluators, scores, statements
from registry.errors import InvalidScore, NameTaken, NotAllowed
from registry.schemas import ScoreIn, VerificationIn
from tests.support import shelf

PREDICTIONS = b"yes no yes\n"


@pytest.fixture
def subject(session, blobs):
    return shelf.add_version(session, shelf.add_adapter(session, blobs, "acme/copa")).content


@pytest.fixture
def evidence(session, blobs, ana):
    stored = blobs.store(io.BytesIO(PREDICTIONS))
    evaluators.record_evidence(session, stored, ana)
    evaluators.record_evidence(session, stored, ana)  # sent twice, kept once
    return f"sha256:{stored.sha256}"


def signed(subject, private, evidence, **changes):
    """Return a score signed as it is, then changed."""
    fields = {"dataset": "xcopa", "metric": "accuracy", "value": 0.75, "n": 4}
    body = ScoreIn(subject=subject, conditions={"seed": 1}, **fields)
    signature = statements.sign(private, statements.statement(body, evidence))
    verification = VerificationIn(
        key=statements.public_key(private), evidence=evidence, signature=signature
    )
    verified = {"source": "verified", "verification": verification}
    return body.model_copy(update=verified | changes)


def test_a_signed_score_counts_as_verified(
    session, blobs, subject, private, key, evidence, ana, operator
):
    evaluators.approve(session, key, operator)
    scores.record(session, signed(subject, private, evidence), ana)

    (score,) = scores.for_subject(session, subject, None)

    assert (score.source, score.verified, score.key_revoked) == ("verified", True, False)
    assert score.evaluator_key == key.key
    assert blobs.read(score.evidence) == PREDICTIONS
    # What is shown suffices for anybody to check the signature again, without the hub.
    message = statements.statement(score, f"sha256:{score.evidence}")
    assert statements.is_signed(score.evaluator_key, score.signature, message)
    assert json.loads(message)["schema"] == "hub.score/1"


def test_the_statement_is_canonical_json_of_what_was_measured(subject):
    body = ScoreIn(
        subject=subject, dataset="d", metric="f1", value=1.0, conditions={"b": 1, "a": 2}
    )
    assert statements.statement(body, "sha256:e") == (
        b'{"conditions":{"a":2,"b":1},"config":null,"dataset":"d","evidence":"sha256:e",'
        b'"language":null,"metric":"f1","n":null,"schema":"hub.score/1","split":"test",'
        b'"stderr":null,"subject":"' + subject.encode() + b'","value":1}'
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 0.76},
        {"n": 5},
        {"split": "dev"},
        {"conditions": {"seed": 2}},
        {"language": "qu"},
        {"stderr": 0.1},
    ],
)
def test_a_score_that_was_changed_after_signing_is_refused(
    session, subject, private, key, evidence, ana, operator, changes
):
    evaluators.approve(session, key, operator)
    with pytest.raises(InvalidScore, match="not that of this statement"):
        scores.record(session, signed(subject, private, evidence, **changes), ana)


def test_another_key_another_account_and_missing_evidence_are_refused(
    session, subject, private, key, evidence, ana, ben, operator
):
    evaluators.approve(session, key, operator)
    stranger = Ed25519PrivateKey.generate()
    with pytest.raises(InvalidScore, match="no evaluator has registered the key"):
        scores.record(session, signed(subject, stranger, evidence), ana)
    with pytest.raises(InvalidScore, match="another account's key"):
        scores.record(session, signed(subject, private, evidence), ben)
    nowhere = "sha256:" + "0" * 64
    with pytest.raises(InvalidScore, match="was not sent to this hub"):
        scores.record(session, signed(subject, private, nowhere), ana)


def test_a_key_counts_from_its_approval_to_its_revocation(
    session, subject, private, key, evidence, ana, ben, operator
):
    with pytest.raises(InvalidScore, match="waits for an operator"):
        scores.record(session, signed(subject, private, evidence), ana)
    with pytest.raises(NotAllowed, match="by an operator"):
        evaluators.approve(session, key, ana)
    evaluators.approve(session, key, operator)
    scores.record(session, signed(subject, private, evidence), ana)

    with pytest.raises(NotAllowed, match="whose it is"):
        evaluators.revoke(session, key, ben)
    evaluators.revoke(session, key, ana)

    (score,) = scores.for_subject(session, subject, None)
    assert (score.source, score.verified, score.key_revoked) == ("verified", False, True)
    with pytest.raises(InvalidScore, match="was revoked"):
        scores.record(session, signed(subject, private, evidence, n=None), ana)
    with pytest.raises(InvalidScore, match="register a new one"):
        evaluators.approve(session, key, operator)
    (listed,) = evaluators.listed(session)
    assert (listed.account, listed.approved_by) == ("ana", "root")
    assert listed.revoked_at is not None


def test_a_key_has_one_owner_and_an_operator_approves_his_own(session, key, ben, operator):
    with pytest.raises(NameTaken):
        evaluators.register(session, key.key, "mine now", ben)
    own = evaluators.register(session, "ab" * 32, "root's", operator)
    assert own.approved_by_id == operator.id


def test_keys_are_read_in_both_usual_forms(private):
    raw = statements.public_key(private)
    for encoding, form in (
        (Encoding.PEM, PrivateFormat.PKCS8),
        (Encoding.PEM, PrivateFormat.OpenSSH),
    ):
        data = private.private_bytes(encoding, form, NoEncryption())
        assert statements.public_key(statements.read_private_key(data)) == raw
    locked = private.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    other = generate_private_key(65537, 1024).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for data, complaint in (
        (locked, "without a passphrase"),
        (other, "not an ed25519 key"),
        (b"hello", "no private key"),
    ):
        with pytest.raises(ValueError, match=complaint):
            statements.read_private_key(data)
