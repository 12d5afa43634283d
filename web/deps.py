"""What routes ask for: a transaction, the store, the settings, and who is calling."""

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated
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

_SAFE = frozenset({"GET", "HEAD"})


def get_session(request: Request) -> Iterator[Session]:
    """One transaction for one request: committed if the route returns, rolled back if it raises.

    GET and HEAD get one that never waits for a writer.
    """
    state = request.app.state
    sessions = state.reading_sessions if request.method in _SAFE else state.sessions
    with sessions.begin() as session:
        yield session


def get_reading_session(request: Request) -> Iterator[Session]:
    with request.app.state.reading_sessions.begin() as session:
        yield session


# "function" commits before the answer is sent. The default would commit after it, and a failing
# commit would then come too late to turn the 201 into an error.
DatabaseSession = Annotated[Session, Depends(get_session, scope="function")]
ReadingSession = Annotated[Session, Depends(get_reading_session, scope="function")]
"""For a POST that only asks: it must not wait for the write lock of SQLite."""


def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def get_blobs(request: Request) -> BlobStore:
    blobs: BlobStore = request.app.state.blobs
    return blobs


AppSettings = Annotated[Settings, Depends(get_settings)]
Blobs = Annotated[BlobStore, Depends(get_blobs)]


def get_caller(request: Request) -> Caller | None:
    """Return who sent the request; None without a token.

    A token that is no good is an error even where none is needed: private adapters would otherwise
    seem to have vanished.
    """
    token = bearer(request)
    if token is None:
        return None
    with request.app.state.reading_sessions.begin() as session:
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
