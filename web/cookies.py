"""Browsers that are logged in: the session's cookie, and what a form must bring to change things.

A cookie alone only ever reads. A form also brings the mark that its page was given, which nobody
can make who has not the hub's secret, and must come from a page of this hub.
"""

import hmac
from urllib.parse import urlsplit

from fastapi import Request, Response
from sqlalchemy.orm import Session

from registry import accounts, login
from registry.accounts import Caller
from registry.errors import NotAllowed, NotAuthenticated
from registry.models import Token

SAFE = frozenset({"GET", "HEAD"})
NAME, SECURE_NAME = "hub_session", "__Host-hub_session"
"""The prefix tells browsers to take the cookie from us alone, and only over TLS."""


def get_browser(request: Request, session: Session) -> Caller | None:
    """Return who is logged in, for a request that only reads."""
    if request.method not in SAFE or (token := _cookie(request)) is None:
        return None
    caller = accounts.authenticate(session, token, "session")
    if caller is not None:
        request.state.account = caller.account.name
        request.state.csrf = _mark(request, token)
    return caller


def require_form(request: Request, session: Session, mark: str) -> Token:
    """Return the session of whoever sent a form from a page of ours.

    Raises NotAuthenticated without a session, NotAllowed for a form that came from elsewhere.
    """
    require_same_origin(request)
    token = _cookie(request)
    row = accounts.find_token(session, token, "session") if token is not None else None
    if token is None or row is None:
        raise NotAuthenticated("your session has ended; log in again")
    if not hmac.compare_digest(mark.encode(), _mark(request, token).encode()):
        raise NotAllowed("this form is not of your session; open its page again")
    request.state.account = row.account.name
    request.state.csrf = _mark(request, token)
    return row


def require_same_origin(request: Request) -> None:
    """Raise NotAllowed for a form that a page of another site sent."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        ours = site in {"same-origin", "none"}
    else:
        ours = origin is None or urlsplit(origin).netloc in _hosts(request)
    if not ours:
        raise NotAllowed("this form was sent from another site")


def set_session(request: Request, response: Response, token: str) -> None:
    secure = _is_secure(request)
    response.set_cookie(
        SECURE_NAME if secure else NAME,
        token,
        max_age=int(login.SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def clear_session(request: Request, response: Response) -> None:
    secure = _is_secure(request)
    response.delete_cookie(
        SECURE_NAME if secure else NAME, path="/", secure=secure, httponly=True, samesite="lax"
    )


def _cookie(request: Request) -> str | None:
    return request.cookies.get(SECURE_NAME if _is_secure(request) else NAME)


def _mark(request: Request, token: str) -> str:
    mark: str = request.app.state.signer.mac("form", token)
    return mark


def _is_secure(request: Request) -> bool:
    public = request.app.state.settings.public_url
    return urlsplit(public or str(request.base_url)).scheme == "https"


def _hosts(request: Request) -> set[str]:
    public = request.app.state.settings.public_url
    return {request.headers.get("Host", ""), urlsplit(public).netloc if public else ""} - {""}
