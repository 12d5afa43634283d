"""The client of `/api/v1`: errors come back as they were raised, and only reads are repeated."""

import contextlib
import socket

import pytest

from registry.client import ATTEMPTS, HubClient, HubError, HubUnreachable, NotAHub
from registry.schemas import Recipe
from tests.support.scripted import Answer, scripted

HEALTH = Answer(body={"status": "ok"})
RECIPE = Recipe(slots={"task": "acme/copa"}, setup="task")


@contextlib.contextmanager
def client_for(*answers, token=None):
    with scripted(*answers) as script, HubClient(script.url, token, pause=0.001) as client:
        yield script, client


def test_an_error_comes_back_with_everything_the_hub_said():
    body = {
        "code": "resolution_impossible",
        "message": "no set-up fits",
        "error": "no set-up fits",
        "hint": "ask for another language",
        "reasons": {"lang": ["lab/qu@1.0.0: another base"]},
        "choices": {"task": ["a/b", "c/d"]},
    }
    with client_for(Answer(409, body)) as (_script, client), pytest.raises(HubError) as caught:
        client.resolve(RECIPE)
    error = caught.value
    assert (error.code, error.message, error.status) == (
        "resolution_impossible",
        body["message"],
        409,
    )
    assert error.hint == "ask for another language"
    assert error.reasons == {"lang": ("lab/qu@1.0.0: another base",)}
    assert error.choices == {"task": ("a/b", "c/d")}


def test_an_error_of_the_hub_protocol_is_read_from_its_headers():
    answer = Answer(401, {"error": "no"}, {"X-Error-Message": "the token is unknown"})
    with (
        client_for(answer) as (_script, client),
        pytest.raises(HubError, match="the token is unknown") as caught,
    ):
        client.whoami()
    assert caught.value.code == "not_authenticated"


def test_a_read_is_repeated_while_the_server_says_not_now():
    with client_for(Answer(503, {}), Answer(429, {}), HEALTH) as (script, client):
        assert client.health() == {"status": "ok"}
    assert len(script.asked) == 3


def test_a_read_is_repeated_when_the_connection_is_cut():
    with client_for(Answer(), HEALTH) as (_script, client):
        assert client.health() == {"status": "ok"}


def test_a_read_is_given_up_after_a_few_attempts():
    with client_for(Answer()) as (script, client), pytest.raises(HubUnreachable):
        client.health()
    assert len(script.asked) == ATTEMPTS


def test_a_write_is_sent_once_only():
    with client_for(Answer(503, {})) as (script, client), pytest.raises(HubError):
        client.resolve(RECIPE)
    assert len(script.asked) == 1


def test_nobody_listening_is_said_at_once_with_what_to_do():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with HubClient(url, pause=60) as client, pytest.raises(HubUnreachable) as caught:
            client.health()
    assert url in str(caught.value)
    assert "hubctl serve" in caught.value.hint
    assert "HUBCTL_ENDPOINT" in caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [Answer(200, "<html>router</html>"), Answer(404, "<html>router</html>"), Answer(200, [])],
)
def test_a_server_that_is_no_hub_is_named_as_such(answer):
    with (
        client_for(answer) as (_script, client),
        pytest.raises(NotAHub, match="does not answer as an adapter hub"),
    ):
        client.health()


def test_the_token_goes_along_and_no_other_is_found_anywhere():
    with client_for(HEALTH, token="hub_x") as (script, client):
        client.health()
    assert script.asked[0][2]["Authorization"] == "Bearer hub_x"
    with client_for(HEALTH) as (script, client):
        client.health()
    assert "Authorization" not in script.asked[0][2]


def test_documents_travel_under_their_own_names():
    with client_for(Answer(400, {})) as (script, client), pytest.raises(HubError):
        client.resolve(RECIPE)
    assert b'"schema":"hub.recipe/1"' in script.asked[0][3]


def test_a_selector_cannot_leave_its_place_in_the_path():
    with client_for(Answer(404, {})) as (script, client), pytest.raises(HubError):
        client.version("acme/copa", "^1/../../x?y")
    assert script.asked[0][1] == "/api/v1/adapters/acme/copa/versions/%5E1%2F..%2F..%2Fx%3Fy"
