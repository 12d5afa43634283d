"""Who may verify scores: accounts whose public key an operator has approved.

The caller owns the transaction.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import audit, db, revisions, statements
from registry.blobs import StoredBlob
from registry.errors import InvalidScore, NameTaken, NotAllowed
from registry.models import Account, EvaluatorKey, Evidence
from registry.schemas import EvaluatorKeyOut, VerificationIn
from registry.tables import now


def register(session: Session, key: str, label: str, account: Account) -> EvaluatorKey:
    """Record a public key of the account. An operator's own key needs no other's approval.

    Raises NameTaken when the key is another account's.
    """
    db.insert_new(
        session, EvaluatorKey, key=key, account_id=account.id, label=label, registered_at=now()
    )
    row = session.get_one(EvaluatorKey, key, populate_existing=True)
    if row.account_id != account.id:
        raise NameTaken(key)
    audit.record(session, account, "evaluator.register", key, label=label)
    if account.is_operator:
        approve(session, row, account)
    return row


def approve(session: Session, key: EvaluatorKey, operator: Account) -> None:
    """Let what this key signs count as verified. Raises NotAllowed, InvalidScore if revoked."""
    if not operator.is_operator:
        raise NotAllowed("evaluators are approved by an operator of the hub")
    if key.revoked_at is not None:
        raise InvalidScore("this key was revoked; register a new one")
    if key.approved_at is None:
        key.approved_by_id, key.approved_at = operator.id, now()
        audit.record(session, operator, "evaluator.approve", key.key)


def revoke(session: Session, key: EvaluatorKey, account: Account) -> None:
    """Withdraw a key for good: what it signed is shown, and no longer counts as verified."""
    if key.account_id != account.id and not account.is_operator:
        raise NotAllowed("a key is revoked by whose it is, or by an operator")
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.record(session, account, "evaluator.revoke", key.key)


def find(session: Session, key: str) -> EvaluatorKey:
    """Raises InvalidScore."""
    row = session.get(EvaluatorKey, key.lower())
    if row is None:
        raise InvalidScore(f"no evaluator has registered the key {key}; 'hubctl evaluators list'")
    return row


def listed(session: Session) -> list[EvaluatorKeyOut]:
    return out(session, session.scalars(select(EvaluatorKey).order_by(EvaluatorKey.registered_at)))


def out(session: Session, rows: Iterable[EvaluatorKey]) -> list[EvaluatorKeyOut]:
    found = list(rows)
    ids = {row.account_id for row in found} | {row.approved_by_id for row in found}
    accounts = session.scalars(select(Account).where(Account.id.in_(ids - {None})))
    names = {row.id: row.name for row in accounts}
    return [
        EvaluatorKeyOut(
            key=row.key,
            account=names[row.account_id],
            label=row.label,
            registered_at=row.registered_at,
            approved_by=None if row.approved_by_id is None else names[row.approved_by_id],
            approved_at=row.approved_at,
            revoked_at=row.revoked_at,
        )
        for row in found
    ]


# --- evidence and signatures ---------------------------------------------------------------------


def record_evidence(session: Session, blob: StoredBlob, account: Account) -> None:
    """Note that these durable bytes are evidence of a score, which may follow."""
    revisions.record_blob(session, blob)
    db.insert_new(
        session, Evidence, sha256=blob.sha256, uploaded_by_id=account.id, uploaded_at=now()
    )


def check(
    session: Session, score: statements.Measured, verification: VerificationIn, account: Account
) -> None:
    """Check that an approved key of the account signed this score and its evidence is here.

    `score` is in standard form, and that is what must have been signed. Raises InvalidScore.
    """
    key = find(session, verification.key)
    if key.account_id != account.id:
        raise InvalidScore("the score is signed by another account's key; its owner must send it")
    if key.approved_at is None:
        raise InvalidScore("the key waits for an operator: 'hubctl evaluators approve'")
    if key.revoked_at is not None:
        raise InvalidScore("the score is signed by a key that was revoked")
    if session.get(Evidence, verification.evidence.removeprefix("sha256:")) is None:
        raise InvalidScore(f"the evidence {verification.evidence} was not sent to this hub")
    message = statements.statement(score, verification.evidence)
    if not statements.is_signed(verification.key, verification.signature, message):
        raise InvalidScore(f"the signature is not that of this statement: {message.decode()}")
