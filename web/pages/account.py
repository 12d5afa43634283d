"""Logging in and out, choosing a password, and one's own tokens."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from registry import accounts, login
from registry.errors import InvalidPassword, NotAllowed
from registry.models import Account, Token
from web import cookies
from web.deps import DatabaseSession, OptionalCaller, reads_only
from web.pages.rendering import address, page

router = APIRouter()

Text = Annotated[str, Form(max_length=500)]
Mark = Annotated[str, Form(alias="csrf", max_length=200)]
DAYS = {30: "30 days", 90: "90 days", 365: "one year"}


# --- in and out ----------------------------------------------------------------------------------


@router.get("/login")
def get_login(caller: OptionalCaller, to: str = "/", *, welcome: bool = False) -> Response:
    if caller is not None:
        return RedirectResponse(_local(to), 303)
    return _login_page(to, welcome=welcome)


@router.post("/login")
@reads_only
def log_in(
    request: Request,
    session: DatabaseSession,
    name: Text,
    password: Text,
    to: Text = "/",
) -> Response:
    """Begin a session. The password is checked while no transaction that writes is open."""
    cookies.require_same_origin(request)
    sessions = request.app.state.sessions
    origin = request.client.host if request.client is not None else ""
    with sessions.begin() as writing:
        attempt = login.count_attempt(writing, name, origin)
    account = login.verify(session, name, password)
    if account is None:
        wrong = "The name or the password is wrong."
        return _login_page(to, status=401, name=name, fault=wrong)
    with sessions.begin() as writing:
        token = login.begin(writing, writing.get_one(Account, account.id), origin, attempt)
    response = RedirectResponse(_local(to), 303)
    cookies.set_session(request, response, token)
    return response


@router.post("/logout")
def log_out(request: Request, session: DatabaseSession, csrf: Mark) -> Response:
    login.log_out(session, cookies.require_form(request, session, csrf))
    response = RedirectResponse("/", 303)
    cookies.clear_session(request, response)
    return response


def _login_page(
    to: str, *, status: int = 200, name: str = "", fault: str = "", welcome: bool = False
) -> Response:
    return page("login.html", status, to=_local(to), name=name, fault=fault, welcome=welcome)


def _local(path: str) -> str:
    """Return a path of this hub; anything else might lead a person who just logged in astray."""
    local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if local else "/"


# --- invitations ---------------------------------------------------------------------------------


@router.get("/account/invitation")
def get_invitation(session: DatabaseSession, code: str = "") -> Response:
    return _invitation_page(login.invited(session, code), code)


@router.post("/account/invitation")
def accept_invitation(
    request: Request, session: DatabaseSession, code: Text, password: Text
) -> Response:
    cookies.require_same_origin(request)
    try:
        account = login.accept(session, code, password)
    except InvalidPassword as error:
        return _invitation_page(login.invited(session, code), code, fault=str(error))
    if account is None:
        return _invitation_page(None, code)
    return RedirectResponse(address("/login", to="/account", welcome="true"), 303)


def _invitation_page(account: Account | None, code: str, fault: str = "") -> Response:
    status = 404 if account is None else 422 if fault else 200
    return page(
        "invitation.html",
        status,
        account=account,
        code=code,
        fault=fault,
        shortest=login.SHORTEST,
        longest=login.LONGEST,
    )


# --- one's own tokens ----------------------------------------------------------------------------


@router.get("/account")
def get_account(session: DatabaseSession, caller: OptionalCaller) -> Response:
    if caller is None:
        return RedirectResponse(address("/login", to="/account"), 303)
    return _account_page(session, caller.account)


@router.post("/account/tokens")
def create_token(
    *,
    request: Request,
    session: DatabaseSession,
    csrf: Mark,
    label: Annotated[str, Form(min_length=1, max_length=100)],
    role: Annotated[Literal["read", "write", "admin"], Form()],
    days: Annotated[int, Form(ge=1, le=3650)] = 90,
) -> Response:
    """Make a token and show it, this once."""
    account = cookies.require_form(request, session, csrf).account
    token = accounts.create_token(
        session, account, label, role, timedelta(days=days), actor=account
    )
    return _account_page(session, account, made=token)


@router.post("/account/tokens/{number}/revoke")
def revoke_token(
    request: Request, session: DatabaseSession, csrf: Mark, number: Annotated[int, Path()]
) -> Response:
    account = cookies.require_form(request, session, csrf).account
    token = session.get(Token, number)
    if token is None or token.account_id != account.id:
        raise NotAllowed("you have no such token")
    accounts.revoke(session, token, account)
    return RedirectResponse("/account", 303)


def _account_page(session: Session, account: Account, **context: Any) -> Response:
    return page(
        "account.html",
        owner=account,
        tokens=accounts.tokens(session, account),
        organisations=accounts.organisations(session, account),
        days=DAYS,
        **{"made": None} | context,
    )
