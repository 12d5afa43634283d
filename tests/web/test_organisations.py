"""An organisation looks after itself: its members, and what was done in its name."""

import pytest

from registry import accounts
from tests.support import shelf

MEMBERS = "/api/v1/organisations/lab/members"


@pytest.fixture
def lab(hub):
    """Ana administers lab, ben may publish in it, eve is nobody there; returns their clients."""
    tokens = {"ana": hub.token, "ben": hub.add_user("ben", "admin"), "eve": hub.add_user("eve")}
    with hub.session() as session:
        ana, ben = (accounts.get(session, name) for name in ("ana", "ben"))
        lab = accounts.create_organisation(session, "lab", admin=ana, actor=ana)
        accounts.add_member(session, lab, ben, "write", actor=ana)
        shelf.add_adapter(session, hub.blobs, "lab/hidden", visibility="private")
    clients = {name: hub.client(token) for name, token in tokens.items()}
    yield clients
    for client in clients.values():
        client.close()


def roles(answer):
    assert answer.status_code == 200, answer.text
    return {member["name"]: member["role"] for member in answer.json()}


def test_administrators_take_in_change_and_dismiss(lab):
    ana, eve = lab["ana"], lab["eve"]
    assert eve.get("/api/v1/adapters/lab/hidden").status_code == 404
    found = roles(ana.put(f"{MEMBERS}/eve", json={"role": "read"}))
    assert found == {"ana": "admin", "ben": "write", "eve": "read"}
    assert eve.get("/api/v1/adapters/lab/hidden").status_code == 200
    assert roles(ana.put(f"{MEMBERS}/eve", json={"role": "admin"}))["eve"] == "admin"
    assert roles(ana.delete(f"{MEMBERS}/eve")) == {"ana": "admin", "ben": "write"}
    assert eve.get("/api/v1/adapters/lab/hidden").status_code == 404
    assert ana.put(f"{MEMBERS}/nobody", json={"role": "read"}).status_code == 404
    assert ana.put(f"{MEMBERS}/eve", json={"role": "owner"}).status_code == 422


def test_members_see_one_another_and_change_nothing_but_that_they_leave(lab):
    ben = lab["ben"]
    assert roles(ben.get(MEMBERS)) == {"ana": "admin", "ben": "write"}
    assert ben.put(f"{MEMBERS}/ben", json={"role": "admin"}).status_code == 403
    assert ben.delete(f"{MEMBERS}/ana").status_code == 403
    assert roles(ben.delete(f"{MEMBERS}/ben")) == {"ana": "admin"}
    assert ben.get(MEMBERS).status_code == 403


def test_the_page_names_the_members_to_members(lab):
    assert '<a href="/ben">ben</a> (write)' in lab["ana"].get("/lab").text
    shown = lab["eve"].get("/lab")
    assert shown.status_code == 200
    assert "ben" not in shown.text


def test_others_are_not_told_who_is_in(hub, lab):
    for method in ("get", "delete"):
        path = MEMBERS if method == "get" else f"{MEMBERS}/ben"
        refused = lab["eve"].request(method, path)
        assert refused.status_code == 403
        assert "ben" not in refused.text
    with hub.client("") as nobody:
        assert nobody.get(MEMBERS).status_code == 401
    assert lab["ana"].get("/api/v1/organisations/ana/members").status_code == 404


def test_a_token_can_do_no_more_than_its_role(hub, lab):
    with hub.session() as session:
        token = accounts.create_token(session, accounts.get(session, "ana"), "ci", "write")
    with hub.client(token) as client:
        assert roles(client.get(MEMBERS))["ana"] == "admin"
        refused = client.put(f"{MEMBERS}/eve", json={"role": "read"})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
        assert client.get("/api/v1/audit").status_code == 403


def test_the_last_administrator_stays(lab):
    ana = lab["ana"]
    for refused in (ana.delete(f"{MEMBERS}/ana"), ana.put(f"{MEMBERS}/ana", json={"role": "read"})):
        assert refused.status_code == 403
        assert "only administrator of lab; make another one first" in refused.json()["message"]
    roles(ana.put(f"{MEMBERS}/ben", json={"role": "admin"}))
    assert roles(ana.delete(f"{MEMBERS}/ana")) == {"ben": "admin"}


# --- what was done -------------------------------------------------------------------------------


def acts(client, **asked):
    answer = client.get("/api/v1/audit", params=asked)
    assert answer.status_code == 200, answer.text
    return [(each["actor"], each["action"], each["subject"]) for each in answer.json()]


def test_administrators_read_what_was_done_in_their_name(lab):
    lab["ana"].put(f"{MEMBERS}/eve", json={"role": "read"})
    found = acts(lab["ana"], owner="lab")
    assert found[0] == ("ana", "member.set", "lab")
    created = ("lab", "adapter.create", "lab/hidden")
    assert created in found
    assert all(subject in ("lab", "lab/hidden") for _, _, subject in found)
    assert acts(lab["ana"], owner="lab", action="adapter") == [created]
    for name in ("ben", "eve"):
        refused = lab[name].get("/api/v1/audit", params={"owner": "lab"})
        assert refused.status_code == 403
        assert "hidden" not in refused.text


def test_everybody_reads_what_they_did_and_what_was_done_to_them(lab):
    assert acts(lab["ben"], action="account") == [("hub", "account.create", "ben")]
    mine = acts(lab["ana"])
    assert ("ana", "member.set", "lab") in mine
    assert not any(subject == "ben" for _, _, subject in mine)
    with_pages, last = [], None
    while (
        page := lab["ana"]
        .get("/api/v1/audit", params={"limit": 2, **({"before": last} if last else {})})
        .json()
    ):
        with_pages += [(each["actor"], each["action"], each["subject"]) for each in page]
        last = page[-1]["id"]
    assert with_pages == mine


def test_branches_and_tags_leave_a_trace(lab, hub):
    """They decide what a name stands for, as versions do."""
    repo = "/api/models/ana/x"
    with hub.session() as session:
        shelf.add_adapter(session, hub.blobs, "ana/x", card="# X\n")
    ana = lab["ana"]
    for method, path, body in (
        ("post", "branch/work", {}),
        ("post", "tag/main", {"tag": "best"}),
        ("delete", "tag/best", None),
        ("delete", "branch/work", None),
    ):
        ana.request(method, f"{repo}/{path}", json=body).raise_for_status()
    found = ana.get("/api/v1/audit", params={"limit": 4}).json()
    assert [(each["action"], each["detail"]["name"]) for each in reversed(found)] == [
        ("branch.create", "work"),
        ("tag.create", "best"),
        ("tag.remove", "best"),
        ("branch.remove", "work"),
    ]
    assert {each["subject"] for each in found} == {"ana/x"}
    assert len({each["detail"]["revision"] for each in found}) == 1
