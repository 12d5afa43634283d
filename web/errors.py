"""How errors look over HTTP: a status, one JSON body, and the headers that Hub clients read."""

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from registry import db
from registry.errors import (
    AccountNotFound,
    AdapterNotFound,
    BackupFailed,
    BaseModelNotFound,
    BlobMissing,
    DigestMismatch,
    ExternalOnly,
    FileNotInRevision,
    InvalidBaseModel,
    InvalidName,
    InvalidPackage,
    InvalidPassword,
    InvalidQuery,
    InvalidRecipe,
    InvalidScore,
    InvalidState,
    NameTaken,
    NotAllowed,
    NotAuthenticated,
    QuotaExceeded,
    RegistryError,
    ResolutionImpossible,
    RevisionNotFound,
    ScoreExists,
    StaleParent,
    StorageFailed,
    StorageFull,
    TooManyAttempts,
    UploadRefused,
    UploadTooLarge,
    ValueRefused,
    VersionExists,
    VersionWithheld,
    WrongVersionNumber,
)
from registry.schemas import ErrorBody
from web import current

log = logging.getLogger("hub.errors")

STATUS: dict[type[RegistryError], int] = {
    InvalidName: 422,
    InvalidPackage: 422,
    InvalidPassword: 422,
    InvalidQuery: 422,
    InvalidBaseModel: 422,
    InvalidRecipe: 422,
    InvalidScore: 422,
    ScoreExists: 409,
    ExternalOnly: 404,
    AccountNotFound: 404,
    AdapterNotFound: 404,
    RevisionNotFound: 404,
    FileNotInRevision: 404,
    BaseModelNotFound: 404,
    NameTaken: 409,
    VersionExists: 409,
    WrongVersionNumber: 422,
    InvalidState: 409,
    QuotaExceeded: 403,
    StaleParent: 412,
    UploadRefused: 422,
    UploadTooLarge: 413,
    BlobMissing: 422,
    DigestMismatch: 400,
    ValueRefused: 422,
    StorageFailed: 500,
    StorageFull: 507,
    BackupFailed: 500,
    NotAuthenticated: 401,
    NotAllowed: 403,
    TooManyAttempts: 429,
    ResolutionImpossible: 409,
}

HUB_CODE: dict[type[RegistryError], str] = {
    AdapterNotFound: "RepoNotFound",
    RevisionNotFound: "RevisionNotFound",
    VersionWithheld: "RevisionNotFound",
    ExternalOnly: "RevisionNotFound",
    FileNotInRevision: "EntryNotFound",
}
"""`X-Error-Code`, by which Hub clients choose an exception. A HEAD has nothing else to go by."""

NOT_HERE = (
    "{error}. This hub holds adapters, not base models: load a base model with endpoint= set to "
    "the hub that has it and HF_ENDPOINT unset, and get an adapter from here with 'hubctl pull'"
)


def install(app: FastAPI) -> None:
    """Answer every error in one form. Pages may put theirs in front of it."""
    app.add_exception_handler(RegistryError, answer_registry_error)
    app.add_exception_handler(DBAPIError, answer_database_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, answer_invalid_request)
    app.add_exception_handler(ClientDisconnect, answer_nobody)
    app.add_exception_handler(Exception, answer_bug)


def answer_registry_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RegistryError)
    if isinstance(error, StorageFailed):
        log.error("request %s failed: %s", getattr(request.state, "request_id", "unknown"), error)
    message = str(error)
    if isinstance(error, AdapterNotFound):
        message = NOT_HERE.format(error=message)
    request.state.error_code = error.code
    if status_of(error) >= 500:
        log.error("request %s failed", current.get("request_id"), exc_info=error)
    body = ErrorBody(
        code=error.code,
        message=message,
        error=message,
        hint=error.hint,
        problems=list(getattr(error, "problems", ())),
        reasons={key: list(lines) for key, lines in getattr(error, "reasons", {}).items()},
        choices={key: list(refs) for key, refs in getattr(error, "choices", {}).items()},
        use=getattr(error, "use", None),
    )
    return _answer(status_of(error), body, hub_headers(error, message))


def status_of(error: RegistryError) -> int:
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)


def hub_headers(error: RegistryError, message: str) -> dict[str, str]:
    headers = {"X-Error-Message": _printable(message)}
    if isinstance(error, NotAuthenticated):
        # With any other text, clients show a 401 as a repository that does not exist.
        headers["X-Error-Message"] = "Invalid credentials in Authorization header"
        headers["WWW-Authenticate"] = 'Bearer realm="hub"'
    if (code := HUB_CODE.get(type(error))) is not None:
        headers["X-Error-Code"] = code
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.wait)
    if isinstance(error, FileNotInRevision):
        # With it clients remember that the file does not exist, and stop asking.
        headers["X-Repo-Commit"] = error.revision
    return headers


def answer_database_error(request: Request, error: Exception) -> JSONResponse:
    """Tell a full or failing disk, and values that no database holds, from a bug."""
    assert isinstance(error, DBAPIError)
    meant = db.meaning(error)
    if meant is None:
        raise error
    return answer_registry_error(request, meant)


def answer_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404:
        message = f"there is nothing at {request.url.path}"
    body = ErrorBody(code=f"http_{error.status_code}", message=message, error=message)
    headers = {**(error.headers or {}), "X-Error-Message": _printable(message)}
    return _answer(error.status_code, body, headers)


def answer_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors()
    ]
    message = "the request cannot be read: " + "; ".join(problems)
    body = ErrorBody(code="invalid_request", message=message, error=message, problems=problems)
    return _answer(422, body, {"X-Error-Message": _printable(message)})


def answer_nobody(request: Request, _error: Exception) -> JSONResponse:
    """The client went away while it sent something. What it sent is gone; it may send it again."""
    message = "the upload was cut before its end; nothing was kept, send it again"
    log.info("request %s: %s", getattr(request.state, "request_id", "unknown"), message)
    return _answer(400, ErrorBody(code="upload_cut", message=message, error=message), {})


def answer_bug(request: Request, error: Exception) -> JSONResponse:
    request_id = getattr(request.state, "request_id", "unknown")
    log.error("request %s failed", request_id, exc_info=error)
    message = f"the hub failed; tell its operator the request id {request_id}"
    body = ErrorBody(code="internal_error", message=message, error=message)
    # This answer is made outside of the middleware that gives the id to all others.
    return _answer(500, body, {"X-Error-Message": message, "X-Request-Id": request_id})


def _answer(status: int, body: ErrorBody, headers: Mapping[str, str]) -> JSONResponse:
    body = body.model_copy(update={"request": current.get("request_id")})
    return JSONResponse(body.model_dump(mode="json"), status_code=status, headers=dict(headers))


def _printable(text: str) -> str:
    """Return text that can stand in a header: one line of Latin-1, not longer than servers take."""
    line = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
    return line.encode("latin-1", "replace").decode("latin-1")[:1000]
