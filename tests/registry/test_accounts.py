"""Accounts, tokens and roles."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from registry import accounts, revisions
from registry.accounts import Caller
from registry.errors import InvalidName, NameTaken, NotAllowed, NotAuthenticated
from registry.models import Adapter, Token
from registry.tables import now


@pytest.fixture
def lab(session, ana):
    """An organisation of ana's."""
    return accounts.create_organisation(session, "lab", admin=ana)


def caller(account, role="admin"):
    return Caller(account, role, "test")


def test_a_token_stands_for_its_account_and_role(session, ana):
    token = accounts.create_token(session, ana, "laptop", "read")
    found = accounts.authenticate(session, token)
    assert found == Caller(ana, "read", "laptop")


def test_only_the_hash_of_a_token_is_kept(session, ana):
    token = accounts.create_token(session, ana, "laptop")
    row = session.scalar(select(Token))
    assert token not in repr(vars(row))
    assert len(row.digest) == 64


def test_a_typing_error_in_a_token_is_recognised(session, ana):
    token = accounts.create_token(session, ana, "laptop")
    assert accounts.is_well_formed(token)
    for at in range(len(token)):
        wrong = token[:at] + ("x" if token[at] != "x" else "y") + token[at + 1 :]
        assert not accounts.is_well_formed(wrong)
        assert accounts.authenticate(session, wrong) is None


def test_an_expired_or_revoked_token_stands_for_nobody(session, ana):
    expired = accounts.create_token(session, ana, "old", lifetime=timedelta(seconds=-1))
    revoked = accounts.create_token(session, ana, "lost")
    session.scalar(select(Token).where(Token.label == "lost")).revoked_at = now()
    assert accounts.authenticate(session, expired) is None
    assert accounts.authenticate(session, revoked) is None


def test_users_and_organisations_share_one_namespace(session, ana, lab):
    for taken in ("ana", "lab", "LAB"):
        with pytest.raises(NameTaken, match="is taken"):
            accounts.create_user(session, taken)
    assert accounts.create_user(session, "ben").name == "ben"  # the transaction is still usable


@pytest.mark.parametrize("name", ["api", "models", "a b", "", "-x", "x..y"])
def test_some_names_cannot_be_owners(session, name):
    with pytest.raises(InvalidName):
        accounts.create_user(session, name)


@pytest.mark.parametrize(
    "roles",
    [
        ("admin", "admin", "admin"),
        ("admin", "read", "read"),
        ("read", "admin", "read"),
        ("write", "write", "write"),
        (None, "admin", None),
    ],
)
def test_a_role_is_the_lower_of_membership_and_token(session, lab, ben, roles):
    membership, token, role = roles
    if membership is not None:
        accounts.add_member(session, lab, ben, membership)
    assert accounts.role_on(session, caller(ben, token), lab.id) == role


def test_nobody_has_no_role(session, lab):
    assert accounts.role_on(session, None, lab.id) is None


def test_what_is_missing_is_said(session, ana, ben):
    adapter = revisions.create_adapter(session, ana, "ana/ner")
    with pytest.raises(NotAuthenticated, match="needs a token"):
        accounts.require(session, None, adapter, "write")
    with pytest.raises(NotAllowed, match="ben has no write role for ana"):
        accounts.require(session, caller(ben), adapter, "write")
    with pytest.raises(NotAllowed, match="this token may only read"):
        accounts.require(session, caller(ana, "read"), adapter, "write")
    assert accounts.require(session, caller(ana), adapter, "admin").account is ana


def test_private_adapters_are_visible_to_members_only(session, lab, ana, ben):
    revisions.create_adapter(session, ana, "lab/open")
    revisions.create_adapter(session, ana, "lab/closed", "private")
    eva = accounts.create_user(session, "eva")
    accounts.add_member(session, lab, ben, "read")

    def seen_by(viewer):
        return set(session.scalars(select(Adapter.name).where(accounts.visible_to(viewer))))

    assert seen_by(ana) == seen_by(ben) == {"lab/open", "lab/closed"}
    assert seen_by(eva) == seen_by(None) == {"lab/open"}


def test_an_operator_may_do_everything(session, lab):
    root = accounts.create_user(session, "root", operator=True)
    assert accounts.role_on(session, caller(root), lab.id) == "admin"


def test_the_first_account_is_made_once(session):
    token = accounts.first_account(session, "DOMAIN\\Ana María")
    found = accounts.authenticate(session, token)
    assert (found.account.name, found.role) == ("domain-ana-mar-a", "admin")
    assert accounts.first_account(session, "other") is None


@pytest.mark.parametrize("system_name", ["root", "admin", "_x", "Ünïcode", "...", "a" * 200])
def test_every_system_user_gets_a_name_that_is_allowed(session, system_name):
    assert accounts.first_account(session, system_name)


def test_organisations_of_a_user_are_listed_with_the_role(session, lab, ana):
    assert accounts.organisations(session, ana) == [(lab, "admin")]
