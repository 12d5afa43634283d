"""Who may do what: accounts, tokens and roles.

    read < write < admin

A caller's role on an owner is the lower of what the token carries and what the account has there.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from zlib import crc32

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from registry import audit, names
from registry.errors import AccountNotFound, NameTaken, NotAllowed, NotAuthenticated
from registry.models import Account, Adapter, Membership, Token
from registry.tables import now

Role = Literal["read", "write", "admin"]
Sight = Literal["public", "theirs", "all"]
Purpose = Literal["access", "session", "invitation"]

RANK: dict[str, int] = {"read": 1, "write": 2, "admin": 3}
PREFIX = "hub_"
"""By which secret scanners find a leaked token."""
DEFAULT_LIFETIME = timedelta(days=90)
HUB = Account(name="hub", kind="user", is_operator=True)
"""Who acts where the hub lies, at its operator's command; no row, and nobody can log in as it."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 40  # 238 bits
_CHECK_LENGTH = 6


@dataclass(frozen=True)
class Caller:
    """An account, and what the token it came with allows it to do."""

    account: Account
    role: Role
    token_label: str


# --- tokens --------------------------------------------------------------------------------------


def authenticate(session: Session, token: str, purpose: Purpose = "access") -> Caller | None:
    """Return whose token this is.

    None if it is unknown, expired, revoked, for another purpose, of an account that was disabled,
    or no token at all.
    """
    row = find_token(session, token, purpose)
    return None if row is None else Caller(row.account, _role(row.role), row.label)


def find_token(session: Session, token: str, purpose: Purpose) -> Token | None:
    """Return the row of a token that is good now for a purpose, or None."""
    if not is_well_formed(token):
        return None
    digest = _digest(token)
    row = session.scalar(
        select(Token).where(Token.digest == digest).options(joinedload(Token.account))
    )
    # The database compared already, by an index; this comparison leaks no timing of its own.
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    good = row.purpose == purpose and is_current(row) and row.account.disabled_at is None
    return row if good else None


def is_current(token: Token) -> bool:
    """Whether a token has neither been revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now())


def create_token(
    session: Session,
    account: Account,
    label: str,
    role: Role = "write",
    lifetime: timedelta | None = DEFAULT_LIFETIME,
    *,
    purpose: Purpose = "access",
    actor: Account | None = None,
) -> str:
    """Return a new token in plain text: the only time it is seen. `lifetime` None: no expiry.

    `actor` is who made it; None: the hub itself or a command on its machine.
    """
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    token = PREFIX + secret + _checksum(secret)
    expires_at = None if lifetime is None else now() + lifetime
    row = Token(
        account=account,
        label=label,
        digest=_digest(token),
        role=role,
        purpose=purpose,
        expires_at=expires_at,
    )
    session.add(row)
    action = "token.create" if purpose == "access" else f"{purpose}.create"
    audit.record(session, actor, action, account.name, label=label, role=role)
    session.flush()
    return token


def tokens(session: Session, account: Account) -> Sequence[Token]:
    """Return the tokens and browser sessions of an account that are good now, newest first."""
    rows = session.scalars(
        select(Token)
        .where(Token.account_id == account.id, Token.purpose != "invitation")
        .order_by(Token.id.desc())
    )
    return [row for row in rows if is_current(row)]


def revoke(session: Session, token: Token, actor: Account | None) -> None:
    """End a token, for good and at once."""
    if token.revoked_at is None:
        token.revoked_at = now()
        action = "token.revoke" if token.purpose == "access" else f"{token.purpose}.revoke"
        audit.record(session, actor, action, token.account.name, label=token.label)


def revoke_all(session: Session, account: Account, purpose: Purpose) -> None:
    session.execute(
        update(Token)
        .where(Token.account_id == account.id, Token.purpose == purpose, Token.revoked_at.is_(None))
        .values(revoked_at=now())
    )


def is_well_formed(token: str) -> bool:
    """Whether the checksum is right, which tells a typing error from an unknown token."""
    if not token.startswith(PREFIX) or not token.isascii():
        return False
    body = token.removeprefix(PREFIX)
    secret, check = body[:-_CHECK_LENGTH], body[-_CHECK_LENGTH:]
    return len(secret) == _SECRET_LENGTH and check == _checksum(secret)


def _checksum(secret: str) -> str:
    value, text = crc32(secret.encode()), ""
    for _ in range(_CHECK_LENGTH):
        value, digit = divmod(value, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return text


def _digest(token: str) -> str:
    # A plain hash suffices: the secret is random and long, so there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()


def _role(text: str) -> Role:
    return "admin" if text == "admin" else "write" if text == "write" else "read"


# --- accounts ------------------------------------------------------------------------------------


def create_user(
    session: Session,
    name: str,
    *,
    full_name: str = "",
    email: str | None = None,
    operator: bool = False,
    actor: Account | None = None,
) -> Account:
    """Raises InvalidName, NameTaken."""
    account = Account(
        name=names.parse_owner(name), full_name=full_name, email=email, is_operator=operator
    )
    return _create(session, account, actor)


def create_organisation(
    session: Session,
    name: str,
    *,
    admin: Account,
    full_name: str = "",
    actor: Account | None = None,
) -> Account:
    """Make an organisation whose first administrator is `admin`. Raises InvalidName, NameTaken."""
    account = Account(name=names.parse_owner(name), kind="organisation", full_name=full_name)
    organisation = _create(session, account, actor)
    add_member(session, organisation, admin, "admin", actor=actor)
    return organisation


def add_member(
    session: Session,
    organisation: Account,
    user: Account,
    role: Role,
    *,
    actor: Account | None = None,
) -> None:
    """Give a user a role in an organisation, in place of the one it had.

    Raises NotAllowed if nobody would administer it any more.
    """
    if role != "admin":
        _keep_an_administrator(session, organisation, user)
    session.merge(Membership(organisation_id=organisation.id, user_id=user.id, role=role))
    audit.record(session, actor, "member.set", organisation.name, user=user.name, role=role)
    session.flush()


def remove_member(
    session: Session, organisation: Account, user: Account, *, actor: Account | None = None
) -> None:
    """End a membership, if there is one. Raises NotAllowed for the last administrator."""
    row = session.get(Membership, (organisation.id, user.id))
    if row is not None:
        _keep_an_administrator(session, organisation, user)
        session.delete(row)
        audit.record(session, actor, "member.remove", organisation.name, user=user.name)
        session.flush()


def _keep_an_administrator(session: Session, organisation: Account, user: Account) -> None:
    lock(session, organisation)  # two administrators might take leave at the same moment
    others = select(Membership.user_id).where(
        Membership.organisation_id == organisation.id, Membership.role == "admin"
    )
    if session.scalars(others).all() == [user.id]:
        raise NotAllowed(
            f"{user.name} is the only administrator of {organisation.name}; make another one first"
        )


def members(session: Session, organisation: Account) -> list[tuple[Account, Role]]:
    """Return the members of an organisation, by name, each with the role."""
    rows = session.execute(
        select(Account, Membership.role)
        .join(Membership, Membership.user_id == Account.id)
        .where(Membership.organisation_id == organisation.id)
        .order_by(Account.name)
    )
    return [(user, _role(role)) for user, role in rows]


def set_operator(
    session: Session, user: Account, operator: bool, *, actor: Account | None = None
) -> None:
    """Make a user an operator of the hub, who may do everything, or no longer one."""
    user.is_operator = operator
    audit.record(session, actor, "account.operator", user.name, operator=operator)


def disable(session: Session, account: Account, *, actor: Account | None = None) -> None:
    """Let nobody act as this account any more; its adapters, scores and history stay."""
    if account.disabled_at is None:
        account.disabled_at = now()
        audit.record(session, actor, "account.disable", account.name)


def enable(session: Session, account: Account, *, actor: Account | None = None) -> None:
    """Take `disable` back. Tokens that have neither expired nor been revoked are good again."""
    if account.disabled_at is not None:
        account.disabled_at = None
        audit.record(session, actor, "account.enable", account.name)


def every(session: Session, kind: str) -> list[tuple[Account, int]]:
    """Return users or organisations by name, each with how many adapters it owns."""
    owned = (
        select(Adapter.owner_id, func.count().label("count"))
        .where(Adapter.removed_at.is_(None))
        .group_by(Adapter.owner_id)
        .subquery()
    )
    rows = session.execute(
        select(Account, func.coalesce(owned.c.count, 0))
        .outerjoin(owned, owned.c.owner_id == Account.id)
        .where(Account.kind == kind)
        .order_by(Account.name)
    )
    return [(account, int(count)) for account, count in rows]


def organisations(session: Session, user: Account) -> list[tuple[Account, Role]]:
    """Return the organisations a user is in, by name, each with the user's role there."""
    rows = session.execute(
        select(Account, Membership.role)
        .join(Membership, Membership.organisation_id == Account.id)
        .where(Membership.user_id == user.id)
        .order_by(Account.name)
    )
    return [(organisation, _role(role)) for organisation, role in rows]


def lock(session: Session, account: Account) -> None:
    """Make others that lock this account wait until the transaction ends."""
    row = select(Account.id).where(Account.id == account.id)
    session.execute(row.with_for_update(key_share=True))


def get(session: Session, name: str, kind: str | None = None) -> Account:
    """Return an account by name. Raises AccountNotFound."""
    account = find(session, name)
    if account is None or kind not in (None, account.kind):
        raise AccountNotFound(f"no {kind or 'account'} is called {name!r} here")
    return account


def find(session: Session, name: str) -> Account | None:
    return session.scalar(select(Account).where(Account.name == name.lower()))


def first_account(session: Session, name: str) -> str | None:
    """On a hub without accounts, create an operator and return a token for it; else None.

    For a server on loopback, which needs no set-up: `name` is the system user's, made to fit.
    """
    if session.scalar(select(Account.id).limit(1)) is not None:
        return None
    account = create_user(session, fitting_name(name), operator=True)
    return create_token(session, account, "first account", "admin", lifetime=None)


def fitting_name(text: str) -> str:
    r"""Return the nearest name that an owner may have.

    >>> fitting_name("DOMAIN\\Ana María.")
    'domain-ana-mar-a'
    """
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower())
    name = "-".join(part for part in kept.split("-") if part)[: names.LONGEST_NAME // 2].strip("-")
    return f"user-{name}" if name in names.RESERVED_OWNERS else name or "user"


def _create(session: Session, account: Account, actor: Account | None) -> Account:
    # Two that ask first and insert later would both be told yes; the constraint cannot be raced.
    try:
        with session.begin_nested():
            session.add(account)
    except IntegrityError as error:
        if find(session, account.name) is None:
            raise
        raise NameTaken(account.name) from error
    audit.record(session, actor, "account.create", account.name, kind=account.kind)
    return account


# --- roles ---------------------------------------------------------------------------------------


def role_on(session: Session, caller: Caller | None, owner_id: int) -> Role | None:
    """Return what the caller may do in an owner's name; None: no more than anybody."""
    if caller is None:
        return None
    own = caller.account.is_operator or caller.account.id == owner_id
    held = "admin" if own else _membership(session, caller.account, owner_id)
    if held is None:
        return None
    return _role(min(held, caller.role, key=RANK.__getitem__))


def require(session: Session, caller: Caller | None, adapter: Adapter, role: Role) -> Caller:
    """Return the caller if it has the role on a visible adapter's owner.

    Raises NotAuthenticated without a caller, NotAllowed with one that has not enough rights.
    """
    return require_owner(session, caller, adapter.owner, role, subject=adapter.name)


def require_owner(
    session: Session, caller: Caller | None, owner: Account, role: Role, *, subject: str
) -> Caller:
    """Like `require`, before there is an adapter."""
    if caller is None:
        raise NotAuthenticated(f"changing {subject} needs a token; log in with 'hubctl login'")
    held = role_on(session, caller, owner.id)
    if held is not None and RANK[held] >= RANK[role]:
        return caller
    if RANK[caller.role] < RANK[role]:
        raise NotAllowed(
            f"this token may only {caller.role}; {subject} needs one with the role {role}"
        )
    raise NotAllowed(
        f"{caller.account.name} has no {role} role for {owner.name}; ask an administrator of it"
    )


def visible_to(viewer: Account | None) -> ColumnElement[bool]:
    """Return the condition under which a viewer may know that an adapter exists.

    Everything that selects, counts or suggests adapters must use it.
    """
    return in_sight(sight_of(viewer), None if viewer is None else viewer.id)


def sight_of(viewer: Account | None) -> Sight:
    """Return what a viewer sees: what is public, also what is theirs, or everything."""
    if viewer is None:
        return "public"
    return "all" if viewer.is_operator else "theirs"


def in_sight(sight: Sight, viewer: int | ColumnElement[int] | None) -> ColumnElement[bool]:
    """Return the condition of `visible_to` for a viewer's id, which may be a parameter."""
    present = Adapter.removed_at.is_(None)
    if sight == "all":
        return present
    if sight == "public":
        return present & (Adapter.visibility == "public")
    joined = select(Membership.organisation_id).where(Membership.user_id == viewer)
    return present & or_(
        Adapter.visibility == "public",
        Adapter.owner_id == viewer,
        Adapter.owner_id.in_(joined),
    )


def owners_seen_by(session: Session, viewer: Account | None) -> set[int] | None:
    """Return whose private adapters a viewer may see too, as `visible_to` has it; None: all."""
    if viewer is None:
        return set()
    if viewer.is_operator:
        return None
    joined = select(Membership.organisation_id).where(Membership.user_id == viewer.id)
    return {viewer.id, *session.scalars(joined)}


def _membership(session: Session, account: Account, owner_id: int) -> str | None:
    return session.scalar(
        select(Membership.role).where(
            Membership.organisation_id == owner_id, Membership.user_id == account.id
        )
    )
