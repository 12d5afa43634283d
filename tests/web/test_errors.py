"""Errors over HTTP: every kind has a status, and Hub clients find what they read."""

import inspect

import pytest

import registry.errors
from registry.errors import RegistryError, ResolutionImpossible
from web import errors

KINDS = [
    kind
    for _, kind in inspect.getmembers(registry.errors, inspect.isclass)
    if issubclass(kind, RegistryError) and kind is not RegistryError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status_of_its_own(kind):
    assert any(parent in errors.STATUS for parent in kind.__mro__)


def test_codes_are_told_apart():
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_the_reasons_of_a_refusal_are_in_the_body(hub):
    @hub.app.get("/test/refuse")
    def refuse():
        raise ResolutionImpossible("no way", reasons={"lang": ("wrong base",)})

    hub.app.router.routes.insert(0, hub.app.router.routes.pop())
    with hub.client() as client:
        answer = client.get("/test/refuse")
    assert answer.status_code == 409
    body = answer.json()
    assert body["error"] == body["message"] == "no way"
    assert body["reasons"] == {"lang": ["wrong base"]}
    assert answer.headers["X-Error-Message"] == "no way"


def test_a_message_beyond_latin_1_can_still_be_sent(hub):
    with hub.client() as client:
        answer = client.post("/api/repos/create", json={"name": "日本語"})
    assert answer.status_code == 422
    assert "日本語" in answer.json()["error"]
    assert "???" in answer.headers["X-Error-Message"]


def test_a_bug_is_answered_with_a_request_id_and_no_detail(hub, caplog):
    @hub.app.get("/test/break")
    def broken():
        raise ZeroDivisionError("secret detail")

    hub.app.router.routes.insert(0, hub.app.router.routes.pop())
    with hub.client() as client:
        answer = client.get("/test/break")
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] in answer.json()["error"]
    assert "secret detail" not in answer.text
    assert "secret detail" in caplog.text


def test_a_request_that_cannot_be_read_names_the_field(hub):
    with hub.client() as client:
        answer = client.post("/api/repos/create", json={})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "body.name" in answer.json()["error"]


@pytest.mark.parametrize("body", ["", "base", "sha256:00"])
def test_what_is_no_digest_is_no_failure_of_the_hub(hub, body):
    with hub.client() as client:
        answer = client.get("/api/v1/base-models", params={"body": body})
    assert answer.status_code == 422
    assert "body" in answer.json()["message"]


def test_git_style_authorisation_is_understood(hub):
    with hub.client("") as client:
        assert client.get("/api/whoami-v2", auth=("ana", hub.token)).status_code == 200
        assert client.get("/api/whoami-v2", auth=("ana", "wrong")).status_code == 401
        unreadable = {"Authorization": "Basic !!!"}
        assert client.get("/api/whoami-v2", headers=unreadable).status_code == 401
        assert client.get("/api/whoami-v2").status_code == 401
