"""Logging in by browser: what the forms do, and what a page of another site cannot."""

import re

import httpx2
import pytest

from registry import accounts, login
from tests.support import shelf
from tests.support.server import running_server

PASSWORD = "correct horse battery"
HTML = {"Accept": "text/html"}


@pytest.fixture
def browser(hub):
    """A browser that keeps cookies; ana has a password and a private adapter."""
    with hub.session() as session:
        ana = accounts.find(session, "ana")
        login.accept(session, login.invite(session, ana), PASSWORD)
        adapter = shelf.add_adapter(session, hub.blobs, "ana/secret", visibility="private")
        shelf.add_version(session, adapter)
    with httpx2.Client(base_url=hub.url, headers=HTML, timeout=60) as client:
        yield client


@pytest.fixture
def inside(browser):
    """The same browser, logged in."""
    assert log_in(browser).status_code == 303
    return browser


def log_in(browser, password=PASSWORD, **fields):
    return browser.post("/login", data={"name": "ana", "password": password} | fields)


def mark(browser):
    return re.search(r'name="csrf" value="([^"]+)"', browser.get("/account").text)[1]


def test_who_logs_in_sees_private_adapters_until_log_out(browser):
    assert browser.get("/ana/secret").status_code == 404
    answer = log_in(browser, to="/ana/secret")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ana/secret")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    page = browser.get("/ana/secret")
    assert page.status_code == 200
    assert '<a href="/account">ana</a>' in page.text
    assert "Cookie" in page.headers["Vary"]
    assert browser.get("/api/v1/adapters/ana/secret").status_code == 200
    held = dict(browser.cookies)

    assert browser.post("/logout", data={"csrf": mark(browser)}).status_code == 303
    assert browser.get("/ana/secret").status_code == 404
    # Also for who kept the cookie: the session itself has ended.
    browser.cookies.update(held)
    assert browser.get("/ana/secret").status_code == 404


@pytest.mark.parametrize("name", ["ana", "nobody"])
def test_a_wrong_password_is_refused_without_saying_what_was_wrong(browser, name):
    answer = log_in(browser, "a wrong guess", name=name)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "Set-Cookie" not in answer.headers


def test_guessing_is_stopped(browser):
    for _ in range(login.MOST_FROM_ONE_ADDRESS):
        assert log_in(browser, "a wrong guess").status_code == 401
    stopped = log_in(browser)
    assert stopped.status_code == 429
    assert 0 < int(stopped.headers["Retry-After"]) <= 900


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1", "/a\nb"]
)
def test_nobody_is_led_astray_after_log_in(browser, target):
    assert log_in(browser, to=target).headers["Location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_forms_of_other_sites_do_nothing(inside, hub, headers):
    fields = {"csrf": mark(inside), "label": "stolen", "role": "admin"}
    for path, data in (
        ("/account/tokens", fields),
        ("/logout", fields),
        ("/login", {"name": "ana", "password": PASSWORD}),
    ):
        assert inside.post(path, data=data, headers=headers).status_code == 403
    assert "stolen" not in inside.get("/account").text


def test_a_cookie_alone_changes_nothing(inside, hub):
    """Neither by a form without the mark, nor by the interface for programs."""
    right = mark(inside)
    for wrong in ("", "x", right[:-1], right.swapcase()):
        data = {"csrf": wrong, "label": "stolen", "role": "admin"}
        assert inside.post("/account/tokens", data=data).status_code in (403, 422)
    state = inside.patch("/api/v1/adapters/ana/secret/versions/1.0.0", json={"state": "yanked"})
    assert state.status_code == 401
    gone = inside.request("DELETE", "/api/repos/delete", json={"name": "ana/secret"})
    assert gone.status_code == 401
    with hub.session() as session:
        assert [
            token.label for token in accounts.tokens(session, accounts.find(session, "ana"))
        ] == [
            "browser",
            "test",
        ]


def test_a_session_is_no_token_and_a_token_no_session(inside, hub):
    with hub.client(inside.cookies["hub_session"]) as client:
        assert client.get("/api/whoami-v2").status_code == 401
    with httpx2.Client(base_url=hub.url, cookies={"hub_session": hub.token}) as client:
        assert client.get("/ana/secret").status_code == 404


def test_a_token_is_made_shown_once_and_revoked(inside, hub):
    data = {"csrf": mark(inside), "label": "my <laptop>", "role": "read", "days": "30"}
    made = inside.post("/account/tokens", data=data)
    token = re.search(r"hub_[0-9A-Za-z]{46}", made.text)[0]
    with hub.client(token) as client:
        assert client.get("/api/whoami-v2").json()["auth"]["accessToken"]["role"] == "read"
        again = inside.get("/account").text
        assert token not in again
        assert "my &lt;laptop&gt;" in again
        number = re.search(r"/account/tokens/(\d+)/revoke", again)[1]
        inside.post(f"/account/tokens/{number}/revoke", data={"csrf": mark(inside)})
        assert client.get("/api/whoami-v2").status_code == 401
    assert "my &lt;laptop&gt;" not in inside.get("/account").text


def test_nobody_revokes_the_tokens_of_others(inside, hub):
    token = hub.add_user("ben")
    with hub.session() as session:
        (row,) = accounts.tokens(session, accounts.find(session, "ben"))
    answer = inside.post(f"/account/tokens/{row.id}/revoke", data={"csrf": mark(inside)})
    assert answer.status_code == 403
    with hub.client(token) as ben:
        assert ben.get("/api/whoami-v2").status_code == 200


def test_an_invitation_leads_to_a_password(browser, hub):
    with hub.session() as session:
        code = login.invite(session, accounts.find(session, "ana"))
    path = f"/account/invitation?code={code}"
    assert "you log in as <strong>ana</strong>" in browser.get(path).text
    short = browser.post("/account/invitation", data={"code": code, "password": "short"})
    assert short.status_code == 422
    assert "10 to 200 characters" in short.text
    done = browser.post("/account/invitation", data={"code": code, "password": "quite another"})
    assert done.status_code == 303
    assert "Your password is set" in browser.get(done.headers["Location"]).text
    assert log_in(browser, "quite another").status_code == 303
    assert browser.get(path).status_code == 404


def test_the_account_page_asks_who_is_not_logged_in_to_log_in(browser):
    assert browser.get("/account").headers["Location"] == "/login?to=%2Faccount"


def test_behind_tls_the_cookie_is_for_tls_only(tmp_path):
    with running_server(tmp_path / "hub", public_url="https://hub.example.org") as server:
        with server.session() as session:
            ana = accounts.find(session, "ana")
            login.accept(session, login.invite(session, ana), PASSWORD)
        with server.client("") as client:
            headers = {"Origin": "https://hub.example.org"}
            data = {"name": "ana", "password": PASSWORD}
            cookie = client.post("/login", data=data, headers=headers).headers["Set-Cookie"]
    assert cookie.startswith("__Host-hub_session=")
    assert "Secure" in cookie
    assert "Domain" not in cookie
