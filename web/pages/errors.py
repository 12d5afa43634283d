"""Errors as pages, for those who asked for a page. Everybody else gets the JSON of `web.errors`."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from registry.errors import RegistryError
from web import errors
from web.pages.rendering import page

HEADINGS = {
    401: "That needs a token",
    403: "That is not allowed",
    404: "There is nothing here",
    422: "That cannot be read",
    500: "The hub failed",
}


def install(app: FastAPI) -> None:
    app.add_exception_handler(RegistryError, answer_registry_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, answer_invalid_request)
    app.add_exception_handler(Exception, answer_bug)


def answer_registry_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryError)
    if not wants_page(request):
        return errors.answer_registry_error(request, error)
    response = _error_page(request, errors.status_of(error), str(error), error.hint)
    response.headers.update(errors.hub_headers(error, str(error)))
    return response


def answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not wants_page(request):
        return errors.answer_http_error(request, error)
    message = str(error.detail)
    if message == HTTPStatus.NOT_FOUND.phrase:
        message = f"No page is at {request.url.path}."
    response = _error_page(request, error.status_code, message)
    response.headers.update(error.headers or {})
    return response


def answer_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if not wants_page(request):
        return errors.answer_invalid_request(request, error)
    problems = [f"the parameter {each['loc'][-1]}: {each['msg']}" for each in error.errors()]
    return _error_page(request, 422, "; ".join(problems))


def answer_bug(request: Request, error: Exception) -> Response:
    answer = errors.answer_bug(request, error)
    if not wants_page(request):
        return answer
    return _error_page(request, 500, answer.headers["X-Error-Message"])


def wants_page(request: Request) -> bool:
    """Whether this is a browser that opens an address. Hub clients accept anything."""
    return (
        request.method in {"GET", "HEAD"}
        and "text/html" in request.headers.get("Accept", "")
        and not request.url.path.startswith("/api/")
    )


def _error_page(request: Request, status: int, message: str, hint: str | None = None) -> Response:
    heading = HEADINGS.get(status) or HTTPStatus(status).phrase
    guess = request.url.path.strip("/").replace("/", " ")[:100] if status == 404 else ""
    return page(
        "error.html", status, code=status, heading=heading, message=message, hint=hint, guess=guess
    )
