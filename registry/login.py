"""Logging in by browser: passwords chosen by invitation, sessions, and a limit on guessing.

Invitations and sessions are tokens of their own purposes: random, hashed at rest, expiring, and
revocable. Passwords are kept as argon2id hashes.
"""

import hashlib
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from registry import accounts, audit
from registry.errors import InvalidPassword, TooManyAttempts
from registry.models import Account, LoginFailure, Token, now

INVITATION_LIFETIME = timedelta(days=7)
SESSION_LIFETIME = timedelta(days=14)
SHORTEST, LONGEST = 10, 200
"""Characters of a password; longer ones would only keep the hash function busy."""

WINDOW = timedelta(minutes=15)
"""For how long a wrong password counts."""
MOST_FROM_ONE_ADDRESS = 5
MOST_FROM_ANYWHERE = 50
"""Wrong passwords for one name. The second bound is for guesses from many addresses at once, and
high enough that nobody else keeps a user out by accident."""

_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash("checked when there is no such account, so that the answer takes as long")


def invite(session: Session, user: Account, *, actor: Account | None = None) -> str:
    """Return a code with which the user may choose a password once; earlier codes end."""
    accounts.revoke_all(session, user, "invitation")
    return accounts.create_token(
        session,
        user,
        "invitation",
        "read",
        INVITATION_LIFETIME,
        purpose="invitation",
        actor=actor,
    )


def invited(session: Session, code: str) -> Account | None:
    """Return whom an invitation is for, if it is good."""
    row = accounts.find_token(session, code, "invitation")
    return row.account if row is not None else None


def accept(session: Session, code: str, password: str) -> Account | None:
    """Set the password an invitation was for, and end the invitation and all sessions.

    Returns None for an invitation that is not good. Raises InvalidPassword.
    """
    row = accounts.find_token(session, code, "invitation")
    if row is None:
        return None
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidPassword(f"a password has {SHORTEST} to {LONGEST} characters")
    row.account.password_hash = _HASHER.hash(password)
    for purpose in ("invitation", "session"):
        accounts.revoke_all(session, row.account, purpose)
    audit.record(session, row.account, "password.set", row.account.name)
    return row.account


def log_in(session: Session, name: str, password: str, address: str) -> str | None:
    """Return the token of a new session; None for a wrong name or password, which is counted.

    `address` is where the attempt comes from. The caller commits in either case. Raises
    TooManyAttempts without looking at the password.
    """
    name = name.strip().lower()
    subjects = {
        _subject(name, address): MOST_FROM_ONE_ADDRESS,
        _subject(name): MOST_FROM_ANYWHERE,
    }
    session.execute(delete(LoginFailure).where(LoginFailure.at < now() - WINDOW))
    for subject, most in subjects.items():
        _check_attempts(session, subject, most)
    account = accounts.find(session, name)
    if not _is_right(account, password) or account is None or account.disabled_at is not None:
        session.add_all(LoginFailure(subject=subject) for subject in subjects)
        session.flush()
        return None
    session.execute(delete(LoginFailure).where(LoginFailure.subject == _subject(name, address)))
    if _HASHER.check_needs_rehash(account.password_hash or ""):
        account.password_hash = _HASHER.hash(password)
    return accounts.create_token(
        session, account, "browser", "admin", SESSION_LIFETIME, purpose="session"
    )


def log_out(session: Session, token: Token) -> None:
    accounts.revoke(session, token, token.account)


def _is_right(account: Account | None, password: str) -> bool:
    known = account.password_hash if account is not None else None
    try:
        return _HASHER.verify(known or _NOBODY, password[: LONGEST + 1]) and known is not None
    except (VerificationError, InvalidHashError):
        return False


def _check_attempts(session: Session, subject: str, most: int) -> None:
    recent = _recent(subject)
    count, first = session.execute(
        select(func.count(), func.min(LoginFailure.at)).where(*recent)
    ).one()
    if count >= most:
        wait = (first + WINDOW - now()).total_seconds()
        raise TooManyAttempts(max(int(wait), 1))


def _recent(subject: str) -> tuple[ColumnElement[bool], ...]:
    return (LoginFailure.subject == subject, LoginFailure.at >= now() - WINDOW)


def _subject(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
