"""Log-ins: tried before they are kept, one per hub, readable by their owner only."""

import json
import stat

import pytest

from cli.credentials import Credentials, choose_endpoint, choose_token, normalise
from cli.failures import Failure
from tests.support.scripted import Answer, scripted


def test_login_keeps_a_token_that_works(hub, hubctl, own_settings):
    ended = hubctl("login", "--endpoint", hub.url, stdin=hub.token + "\n")
    assert (ended.code, ended.out) == (0, f"Logged in to {hub.url} as ana\n")
    file = own_settings / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["servers"][hub.url]["token"] == hub.token
    assert hubctl("whoami").out.startswith("account:")
    assert hubctl("whoami", "--json").json["account"] == "ana"


@pytest.mark.parametrize("token", ["hub_wrong", "not one at all", ""])
def test_login_refuses_a_token_that_does_not_work(hub, hubctl, own_settings, token):
    ended = hubctl("login", "--endpoint", hub.url, "--token", "-", stdin=token + "\n")
    assert ended.code == 4
    assert ended.err.startswith("Error: ")
    assert not (own_settings / "credentials.json").exists()


def test_logout_forgets_the_token(logged_in, hubctl):
    assert hubctl("logout", "--endpoint", logged_in.url).out == f"Logged out of {logged_in.url}\n"
    assert hubctl("whoami", "--endpoint", logged_in.url).code == 4


def test_no_command_prints_a_token(logged_in, hubctl):
    for words in (
        ["whoami"],
        ["whoami", "--json"],
        ["login", "--token", logged_in.token, "--json"],
    ):
        ended = hubctl(*words)
        assert logged_in.token not in ended.out + ended.err


def test_a_token_is_sent_only_to_the_hub_it_was_stored_for(hubctl):
    Credentials().store("https://hub.example.org", "hub_secret", "ana")
    with scripted(Answer(401, {"error": "no"})) as other:
        hubctl("whoami", "--endpoint", other.url)
    assert "Authorization" not in other.asked[0][2]


def test_hf_token_is_used_only_with_the_server_that_hf_endpoint_names(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert choose_token("http://127.0.0.1:8000", Credentials()) is None
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8000/")
    assert choose_token("http://127.0.0.1:8000", Credentials()) == "hf_secret"
    assert choose_token("http://127.0.0.1:9000", Credentials()) is None


def test_the_endpoint_is_the_first_that_is_named(monkeypatch):
    credentials = Credentials()
    assert choose_endpoint(None, credentials) == "http://127.0.0.1:8000"
    credentials.store("http://last:1", "t", "ana")
    assert choose_endpoint(None, credentials) == "http://last:1"
    monkeypatch.setenv("HF_ENDPOINT", "http://hf:1")
    assert choose_endpoint(None, credentials) == "http://hf:1"
    monkeypatch.setenv("HUBCTL_ENDPOINT", "http://own:1")
    assert choose_endpoint(None, credentials) == "http://own:1"
    assert choose_endpoint("http://given:1", credentials) == "http://given:1"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("HTTP://LocalHost:8000/", "http://127.0.0.1:8000"),
        ("hub.example.org", "http://hub.example.org"),
        ("https://Hub.Example.org:443", "https://hub.example.org:443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_one_hub_has_one_address(typed, kept):
    assert normalise(typed) == kept


@pytest.mark.parametrize("typed", ["ftp://x", "http://", "http://x:port", ""])
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(Failure):
        normalise(typed)


def test_a_damaged_credential_file_is_named(own_settings, hubctl):
    (own_settings / "credentials.json").write_text("{")
    ended = hubctl("whoami")
    assert ended.code == 1
    assert "credentials.json" in ended.err
    assert "delete it" in ended.err
