"""Members of organisations, and the audit log of an owner, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from registry import accounts, audit
from registry.accounts import Caller, Role
from registry.models import Account
from registry.schemas import AuditOut, Count, MemberIn, MemberOut
from web.deps import DatabaseSession, RequiredCaller

router = APIRouter(prefix="/api/v1", tags=["accounts"])

MEMBERS = "/organisations/{organisation}/members"


@router.get(MEMBERS)
def list_members(
    organisation: str, session: DatabaseSession, caller: RequiredCaller
) -> list[MemberOut]:
    """List who is in an organisation, for those who are."""
    return _members(session, _organisation(session, organisation, caller, "read"))


@router.put(MEMBERS + "/{user}")
def set_member(
    organisation: str,
    user: str,
    body: MemberIn,
    session: DatabaseSession,
    caller: RequiredCaller,
) -> list[MemberOut]:
    """Take a user in, or change a role. For administrators of the organisation."""
    found = _organisation(session, organisation, caller, "admin")
    member = accounts.get(session, user, "user")
    accounts.add_member(session, found, member, body.role, actor=caller.account)
    return _members(session, found)


@router.delete(MEMBERS + "/{user}")
def remove_member(
    organisation: str, user: str, session: DatabaseSession, caller: RequiredCaller
) -> list[MemberOut]:
    """End a membership. For administrators; everybody may leave."""
    member = accounts.get(session, user, "user")
    leaves = member.id == caller.account.id and caller.role != "read"
    found = _organisation(session, organisation, caller, "read" if leaves else "admin")
    accounts.remove_member(session, found, member, actor=caller.account)
    return _members(session, found)


@router.get("/audit")
def read_audit(
    *,
    session: DatabaseSession,
    caller: RequiredCaller,
    owner: str | None = None,
    action: str | None = None,
    before: Count | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
) -> list[AuditOut]:
    """Return what an owner did, and what was done to it and its adapters, the newest first.

    For administrators of the owner; without one it is the caller.
    """
    account = caller.account if owner is None else accounts.get(session, owner)
    subject = f"the audit log of {account.name}"
    accounts.require_owner(session, caller, account, "admin", subject=subject)
    found = audit.entries(session, owner=account.name, action=action, before=before, limit=limit)
    return [AuditOut.model_validate(entry, from_attributes=True) for entry in found]


def _organisation(session: Session, name: str, caller: Caller, role: Role) -> Account:
    found = accounts.get(session, name, "organisation")
    subject = f"the list of members of {found.name}"
    accounts.require_owner(session, caller, found, role, subject=subject)
    return found


def _members(session: Session, organisation: Account) -> list[MemberOut]:
    found = accounts.members(session, organisation)
    return [MemberOut(name=user.name, role=role) for user, role in found]
