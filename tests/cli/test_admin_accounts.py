"""Operators' commands for users, tokens, organisations, settings and the audit log."""

import pytest

from registry import accounts, login
from tests.support import shelf


@pytest.fixture
def admin(hub, hubctl):
    """Call `hubctl admin` on the data of the running hub."""
    folder = hub.settings.data
    return lambda *words, **options: hubctl("admin", *words, "--data", folder, **options)


def whoami(hub, token):
    with hub.client(token) as client:
        return client.get("/api/whoami-v2")


def test_a_user_is_added_and_chooses_a_password_by_the_link(admin, hub):
    public = "https://hub.example.org/"
    added = admin("user", "add", "ben", "--full-name", "Ben B", "--json", HUB_PUBLIC_URL=public)
    link = added.json["invitation"]
    start = "https://hub.example.org/account/invitation?code="
    assert link.startswith(start)
    with hub.session() as session:
        ben = login.accept(session, link.removeprefix(start), "correct horse battery")
        assert (ben.name, ben.full_name, ben.is_operator) == ("ben", "Ben B", False)
    taken = admin("user", "add", "ben")
    assert taken.code == 1
    assert "is taken" in taken.err
    (shown,) = (user for user in admin("user", "list", "--json").json if user["name"] == "ben")
    assert (shown["password"], shown["adapters"], shown["state"]) == (True, 0, "active")
    again = admin("user", "invite", "ben")
    assert "works once" in again.err
    assert "/account/invitation?code=hub_" in again.out


def test_a_token_is_made_used_listed_and_revoked(admin, hub):
    words = ("--role", "read", "--days", "3", "--label", "nightly")
    token = admin("token", "create", "ana", *words).out.strip()
    assert whoami(hub, token).json()["auth"]["accessToken"] == {
        "displayName": "nightly",
        "role": "read",
    }
    listed = admin("token", "list", "ana", "--json").json
    assert [each["label"] for each in listed] == ["nightly", "test"]
    assert token not in str(listed)
    assert "Revoked 'nightly' of ana" in admin("token", "revoke", listed[0]["id"]).out
    assert whoami(hub, token).status_code == 401
    assert admin("token", "revoke", 10_000).code == 1


def test_a_disabled_user_is_out_until_enabled(admin, hub):
    assert admin("user", "disable", "ana").out == "ana is disabled\n"
    assert whoami(hub, hub.token).status_code == 401
    admin("user", "disable", "ana", "--undo")
    assert whoami(hub, hub.token).status_code == 200


def test_an_operator_is_made_and_unmade(admin, hub):
    with hub.session() as session:
        shelf.add_adapter(session, hub.blobs, "lab/hidden", visibility="private")
    token = hub.add_user("ben")
    path = "/api/v1/adapters/lab/hidden"
    for role, status in (("operator", 200), ("user", 404)):
        assert admin("user", "role", "ben", role).code == 0
        with hub.client(token) as ben:
            assert ben.get(path).status_code == status


def test_an_organisation_and_its_members(admin, hub):
    hub.add_user("ben")
    assert admin("org", "create", "lab", "--admin", "ana").code == 0
    members = admin("org", "add", "lab", "ben", "--role", "write", "--json").json["members"]
    assert members == {"ana": "admin", "ben": "write"}
    assert admin("org", "remove", "lab", "ben", "--json").json["members"] == {"ana": "admin"}
    assert admin("org", "list", "--json").json == [
        {"name": "lab", "full_name": "", "members": 1, "adapters": 0}
    ]
    wrong = admin("org", "add", "ana", "ben")
    assert wrong.code == 1
    assert "no organisation is called 'ana'" in wrong.err


def test_the_audit_log_says_who_did_what(admin, hub):
    hub.add_user("ben")
    admin("user", "disable", "ben")
    found = admin("audit", "--action", "account", "--json").json
    assert [(entry["actor"], entry["action"], entry["subject"]) for entry in found] == [
        ("hub", "account.disable", "ben"),
        ("hub", "account.create", "ben"),
        ("hub", "account.create", "ana"),
    ]
    shown = admin("audit", "--subject", "ben", "--limit", 1)
    assert "account.disable" in shown.out
    assert admin("audit", "--before", found[0]["id"], "--actor", "ben", "--json").json == []


def test_an_operator_quarantines(admin, hub):
    with hub.session() as session:
        shelf.add_version(session, shelf.add_adapter(session, hub.blobs, "lab/x"))
    words = ("quarantine", "lab/x@1.0.0")
    assert admin(*words, "--reason", "reported").out == "lab/x@1.0.0 is quarantined\n"
    path = "/api/v1/adapters/lab/x/versions/1.0.0"
    with hub.client("") as nobody:
        assert "was quarantined: reported" in nobody.get(path).json()["message"]
        admin(*words, "--undo")
        assert nobody.get(path).status_code == 200


def test_settings_are_shown_without_secrets(admin):
    shown = admin("settings", HUB_SECRET="topsecret", HUB_OWNER_ADAPTERS="7")
    assert "topsecret" not in shown.out
    line = next(line for line in shown.out.splitlines() if line.startswith("HUB_OWNER_ADAPTERS"))
    assert line.split()[1:3] == ["7", "environment"]


def test_unknown_names_are_said(admin):
    for words in (("user", "invite", "eve"), ("token", "create", "eve"), ("org", "members", "eve")):
        ended = admin(*words)
        assert ended.code == 1
        assert "is called 'eve' here" in ended.err


def test_a_name_of_the_hub_itself_is_nobodys(hub):
    with hub.session() as session:
        assert accounts.find(session, accounts.HUB.name) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HUB_DATABASE_URL", "no-address"),
        ("HUB_DATABASE_URL", "mysql://127.0.0.1/hub"),
        ("HUB_BLOBS_URL", "bucket"),
        ("HUB_PUBLIC_URL", "hub.example.org"),
        ("HUB_PAGE_SIZE", "many"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(hubctl, tmp_path, variable, value):
    ended = hubctl("serve", "--port", 0, "--data", tmp_path / "data", **{variable: value})
    assert ended.code == 1
    assert f"  - {variable}: " in ended.err
    assert not (tmp_path / "data").exists()


def test_a_database_that_does_not_answer_is_said(hubctl, tmp_path):
    url = "postgresql://127.0.0.1:9/hub"
    for words in (("serve", "--port", 0), ("admin", "user", "list")):
        ended = hubctl(*words, "--data", tmp_path / "data", HUB_DATABASE_URL=url)
        assert ended.code == 1
        assert "HUB_DATABASE_URL" in ended.err


def test_what_a_command_on_the_hubs_machine_did_is_the_hubs_in_the_log(admin):
    admin("user", "add", "ben")
    admin("token", "create", "ben")
    found = admin("audit", "--subject", "ben", "--json").json
    actors = {(each["action"], each["actor"]) for each in found}
    assert actors == {
        (action, "hub") for action in ("account.create", "invitation.create", "token.create")
    }
