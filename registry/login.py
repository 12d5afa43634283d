"""Logging in by browser: passwords chosen by invitation, sessions, and a limit on guessing.

Invitations and sessions are tokens of their own purposes: random, hashed at rest, expiring, and
revocable. Passwords are kept as argon2id hashes.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from registry import accounts, audit
from registry.errors import InvalidPassword, TooManyAttempts
from registry.models import Account, LoginFailure, Token
from registry.tables import now

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


def count_attempt(session: Session, name: str, address: str) -> list[int]:
    """Count an attempt as wrong until `begin` finds it right; return what `begin` takes back.

    Counted first, so that guesses sent all at once are all counted. `address` is where the attempt
    comes from. The caller commits before the password is looked at. Raises TooManyAttempts.
    """
    session.execute(delete(LoginFailure).where(LoginFailure.at < now() - WINDOW))
    bounds = {
        _subject(_name(name), address): MOST_FROM_ONE_ADDRESS,
        _subject(_name(name)): MOST_FROM_ANYWHERE,
    }
    for subject, most in bounds.items():
        _check_attempts(session, subject, most)
    rows = [LoginFailure(subject=subject) for subject in bounds]
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]


def verify(session: Session, name: str, password: str) -> Account | None:
    """Return the account of a name and its password. Takes as long when there is no such name."""
    account = accounts.find(session, _name(name))
    right = _is_right(account, password)
    return account if right and account is not None and account.disabled_at is None else None


def begin(session: Session, account: Account, address: str, attempt: Sequence[int]) -> str:
    """Return the token of a new session, and forget what was tried from this address."""
    session.execute(
        delete(LoginFailure).where(
            LoginFailure.id.in_(attempt) | (LoginFailure.subject == _subject(account.name, address))
        )
    )
    return accounts.create_token(
        session,
        account,
        "browser",
        "admin",
        SESSION_LIFETIME,
        purpose="session",
        actor=account,
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
    count, first = session.execute(
        select(func.count(), func.min(LoginFailure.at)).where(
            LoginFailure.subject == subject, LoginFailure.at >= now() - WINDOW
        )
    ).one()
    if count >= most:
        wait = (first + WINDOW - now()).total_seconds()
        raise TooManyAttempts(max(int(wait), 1))


def _name(text: str) -> str:
    return text.strip().lower()


def _subject(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
