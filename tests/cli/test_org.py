"""Members of an organisation and its audit log, at the command line."""

import pytest

from registry import accounts


@pytest.fixture
def lab(logged_in):
    """An organisation that ana administers, and a user ben."""
    logged_in.add_user("ben")
    with logged_in.session() as session:
        accounts.create_organisation(session, "lab", admin=accounts.get(session, "ana"))
    return logged_in


@pytest.mark.usefixtures("lab")
def test_members_come_change_and_go(hubctl):
    both = [{"name": "ana", "role": "admin"}, {"name": "ben", "role": "read"}]
    assert hubctl("org", "add", "lab", "ben", "--json").json == both
    assert "ben     write" in hubctl("org", "add", "lab", "ben", "--role", "write").out
    assert hubctl("org", "members", "lab", "--json").json[1]["role"] == "write"
    assert hubctl("org", "remove", "lab", "ben", "--json").json == both[:1]
    refused = hubctl("org", "remove", "lab", "ana")
    assert refused.code == 4
    assert "only administrator of lab" in refused.err


@pytest.mark.usefixtures("lab")
def test_what_was_done_is_shown_to_whom_it_concerns(hubctl):
    hubctl("org", "add", "lab", "ben")
    (entry,) = hubctl("audit", "lab", "--action", "member", "--limit", "1", "--json").json
    assert (entry["actor"], entry["action"], entry["subject"]) == ("ana", "member.set", "lab")
    assert entry["detail"] == {"user": "ben", "role": "read"}
    shown = hubctl("audit", "--action", "member").out
    assert "member.set" in shown
    assert '{"user": "ben", "role": "read"}' in shown
    assert hubctl("audit", "ben").code == 4
