"""`hubctl admin migrate`: up, down, and saying where the database stands."""

import pytest

from registry import db


@pytest.fixture
def old_hub(tmp_path):
    """A data folder whose database is one release behind."""
    data = tmp_path / "data"
    engine = db.connect(f"sqlite:///{data / 'hub.sqlite3'}")
    db.migrate(engine, "0001")
    engine.dispose()
    return data


def test_it_goes_up_down_and_up_again(hubctl, old_hub):
    newest = hubctl("admin", "migrate", "--data", old_hub, "--json").json
    assert newest == {"before": "0001", "revision": db.head(), "head": db.head()}
    down = hubctl("admin", "migrate", "--to", "base", "--json", HUB_DATA=str(old_hub)).json
    assert (down["before"], down["revision"]) == (db.head(), None)
    assert hubctl("admin", "migrate", "--data", old_hub).out.split() == [
        *("schema:", db.head(), "newest:", db.head())
    ]


def test_check_only_looks(hubctl, old_hub):
    looked = hubctl("admin", "migrate", "--check", "--data", old_hub, "--json")
    assert (looked.code, looked.json["revision"]) == (1, "0001")
    assert hubctl("admin", "migrate", "--data", old_hub).code == 0
    assert hubctl("admin", "migrate", "--check", "--data", old_hub).code == 0


def test_a_revision_that_is_not_there_is_an_error(hubctl, old_hub):
    ended = hubctl("admin", "migrate", "--to", "9999", "--data", old_hub)
    assert (ended.code, "cannot go to '9999'" in ended.err) == (1, True)


def test_a_wrong_folder_is_not_made_a_hub(hubctl, tmp_path):
    ended = hubctl("admin", "migrate", "--data", tmp_path / "typo")
    assert ended.code == 1
    assert "there is no hub in" in ended.err
    assert "--data or HUB_DATA" in ended.err
    assert not (tmp_path / "typo").exists()
