"""What routes ask for: a transaction, the store, the settings, and who is calling."""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Annotated, TypeVar
from urllib.parse import unquote

from fastapi import Depends, Path, Request
from pydantic import AfterValidator
from sqlalchemy.orm import Session

from registry import accounts
from registry.accounts import Caller
from registry.blobs import BlobStore
from registry.errors import NotAuthenticated
from registry.models import Account
from registry.settings import Settings
from web import cookies

Route = TypeVar("Route", bound=Callable[..., object])


def reads_only(route: Route) -> Route:
    """Mark a POST route that only asks, so that it never waits for the write lock of SQLite."""
    _READING_ROUTES.add(route)
    return route


_READING_ROUTES: set[Callable[..., object]] = set()


def get_session(request: Request) -> Iterator[Session]:
    """One transaction for one request: committed if the route returns, rolled back if it raises.

    GET, HEAD and what is marked with `reads_only` get one that must not write.
    """
    reads = request.method in cookies.SAFE or request.scope["endpoint"] in _READING_ROUTES
    state = request.app.state
    with (state.reading_sessions if reads else state.sessions).begin() as session:
        yield session


# "function" commits before the answer is sent. The default would commit after it, and a failing
# commit would then come too late to turn the 201 into an error.
DatabaseSession = Annotated[Session, Depends(get_session, scope="function")]


def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def get_blobs(request: Request) -> BlobStore:
    blobs: BlobStore = request.app.state.blobs
    return blobs


AppSettings = Annotated[Settings, Depends(get_settings)]
Blobs = Annotated[BlobStore, Depends(get_blobs)]


def get_caller(request: Request, session: DatabaseSession) -> Caller | None:
    """Return who sent the request, as rows of its transaction; None without a token.

    A token that is no good is an error even where none is needed: private adapters would otherwise
    seem to have vanished. A browser's session that has ended is just nobody.
    """
    token = bearer(request)
    if token is None:
        return cookies.get_browser(request, session)
    caller = accounts.authenticate(session, token)
    if caller is None:
        raise NotAuthenticated(_what_is_wrong(token))
    return caller


def require_caller(caller: "OptionalCaller") -> Caller:
    if caller is None:
        raise NotAuthenticated("this needs a token; log in with 'hubctl login' or set HF_TOKEN")
    return caller


OptionalCaller = Annotated[Caller | None, Depends(get_caller)]
RequiredCaller = Annotated[Caller, Depends(require_caller)]


def viewer_of(caller: Caller | None) -> Account | None:
    return caller.account if caller is not None else None


def get_base_url(request: Request, settings: AppSettings) -> str:
    """Return scheme and host by which the client reached us; addresses we send begin with it."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    return str(request.base_url).rstrip("/")


BaseUrl = Annotated[str, Depends(get_base_url)]
Quoted = Annotated[str, Path(), AfterValidator(unquote)]
"""A path parameter in which clients quote slashes (see `middleware.EncodedSlashes`)."""


def bearer(request: Request) -> str | None:
    """Return the token of `Authorization`: Bearer, or the password of Basic as git sends it."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise NotAuthenticated("the Authorization header cannot be read") from None


def _what_is_wrong(token: str) -> str:
    if accounts.is_well_formed(token):
        return "the token is unknown, expired or revoked; make a new one and log in again"
    if token.startswith(accounts.PREFIX):
        return "the token has a typing error: its checksum is wrong"
    return (
        f"the token is not one of this hub, whose tokens begin with {accounts.PREFIX!r}; "
        "give it one with 'hubctl login' or HF_TOKEN, or none at all"
    )
