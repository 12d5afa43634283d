"""Passwords by invitation, sessions of browsers, and the limit on guessing."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from registry import accounts, login
from registry.errors import InvalidPassword, TooManyAttempts
from registry.models import LoginFailure, Token
from registry.tables import now

PASSWORD = "correct horse battery"


@pytest.fixture
def member(session, ana):
    """A user who has chosen a password."""
    assert login.accept(session, login.invite(session, ana), PASSWORD) is ana
    return ana


def attempt(session, password, name="ana", address="192.0.2.1"):
    counted = login.count_attempt(session, name, address)
    account = login.verify(session, name, password)
    return login.begin(session, account, address, counted) if account is not None else None


def test_an_invitation_works_once(session, ana):
    code = login.invite(session, ana)
    assert login.invited(session, code) is ana
    assert login.accept(session, code, PASSWORD) is ana
    assert login.invited(session, code) is None
    assert login.accept(session, code, "another password") is None
    assert ana.password_hash.startswith("$argon2id$")
    assert PASSWORD not in ana.password_hash


def test_a_later_invitation_ends_the_earlier_and_a_late_one_is_none(session, ana):
    first, second = login.invite(session, ana), login.invite(session, ana)
    assert login.invited(session, first) is None
    row = accounts.find_token(session, second, "invitation")
    row.expires_at = now() - timedelta(seconds=1)
    assert login.accept(session, second, PASSWORD) is None


@pytest.mark.parametrize("password", ["", "ninechars", "x" * 201])
def test_a_password_that_is_too_short_or_long_leaves_the_invitation(session, ana, password):
    code = login.invite(session, ana)
    with pytest.raises(InvalidPassword, match="10 to 200"):
        login.accept(session, code, password)
    assert login.accept(session, code, PASSWORD) is ana


def test_the_right_password_begins_a_session(session, member):
    token = attempt(session, PASSWORD, name=" Ana ")
    assert accounts.authenticate(session, token, "session").account is member
    row = accounts.find_token(session, token, "session")
    login.log_out(session, row)
    assert accounts.authenticate(session, token, "session") is None


def test_no_token_serves_another_purpose(session, member):
    made = {
        "session": attempt(session, PASSWORD),
        "invitation": login.invite(session, member),
        "access": accounts.create_token(session, member, "laptop"),
    }
    for purpose, token in made.items():
        for asked in made:
            good = accounts.find_token(session, token, asked) is not None
            assert good == (asked == purpose), (purpose, asked)


def test_a_new_password_ends_all_sessions(session, member):
    token = attempt(session, PASSWORD)
    login.accept(session, login.invite(session, member), "another password")
    assert accounts.authenticate(session, token, "session") is None
    assert attempt(session, PASSWORD) is None
    assert attempt(session, "another password") is not None


def test_who_is_disabled_is_out_at_once(session, member):
    tokens = {
        "session": attempt(session, PASSWORD),
        "access": accounts.create_token(session, member, "laptop"),
    }
    accounts.disable(session, member)
    for purpose, token in tokens.items():
        assert accounts.authenticate(session, token, purpose) is None
    assert attempt(session, PASSWORD) is None
    accounts.enable(session, member)
    assert accounts.authenticate(session, tokens["access"]).account is member
    assert attempt(session, PASSWORD) is not None


@pytest.mark.usefixtures("member")
def test_guessing_is_stopped_for_a_while(session):
    for _ in range(login.MOST_FROM_ONE_ADDRESS):
        assert attempt(session, "a wrong guess") is None
    with pytest.raises(TooManyAttempts, match=r"try again in 1[45] minutes") as stopped:
        attempt(session, PASSWORD)
    assert 0 < stopped.value.wait <= login.WINDOW.total_seconds()
    # From elsewhere the user gets in, and a name that does not exist is treated alike.
    assert attempt(session, PASSWORD, address="192.0.2.2") is not None
    for _ in range(login.MOST_FROM_ONE_ADDRESS):
        assert attempt(session, "a wrong guess", name="nobody") is None
    with pytest.raises(TooManyAttempts):
        attempt(session, "a wrong guess", name="nobody")

    for row in session.scalars(select(LoginFailure)):
        row.at -= login.WINDOW
    session.flush()
    assert attempt(session, PASSWORD) is not None
    assert session.scalars(select(LoginFailure)).all() == []


@pytest.mark.usefixtures("member")
def test_guesses_from_many_addresses_are_stopped_too(session):
    session.add_all(
        LoginFailure(subject=login._subject("ana")) for _ in range(login.MOST_FROM_ANYWHERE)
    )
    with pytest.raises(TooManyAttempts):
        attempt(session, PASSWORD)


def test_who_has_no_password_cannot_log_in(session, ana):
    assert attempt(session, "") is None
    assert attempt(session, login._NOBODY) is None
    assert session.scalars(select(Token).where(Token.purpose == "session")).all() == []
