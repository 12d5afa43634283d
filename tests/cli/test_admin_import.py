"""`hubctl admin import-adapterhub`, and what a person meets afterwards."""

import pytest

from tests.cli.test_scores import make_operator
from tests.support import adapterhub_tree


@pytest.fixture
def folder(tmp_path):
    return adapterhub_tree.make(tmp_path / "cards", cards=20)


def test_cards_are_imported_found_and_never_pulled(hubctl, logged_in, folder, tmp_path):
    data = ("--data", logged_in.settings.data)
    refused = hubctl("admin", "import-adapterhub", folder, *data)
    assert "this hub has no operator" in refused.err
    make_operator(logged_in)
    dry = hubctl("admin", "import-adapterhub", folder, *data, "--dry-run", "--details")
    assert "'english' is en" in dry.out
    assert "conll2003 (3 tasks)" in dry.err
    assert hubctl("search", "stackexchange", "--json").json["hits"] == []

    done = hubctl("admin", "import-adapterhub", folder, *data, "--json").json
    assert done["counts"]["added"] == 23
    assert (
        hubctl("admin", "import-adapterhub", folder, *data, "--json").json["counts"]["unchanged"]
        == 23
    )

    (hit,) = hubctl("search", "stackexchange", "--json").json["hits"]
    assert hit["external"] == "adapterhub"
    pulled = hubctl("pull", hit["name"], "--to", tmp_path / "to")
    assert pulled.code == 3
    assert "its weights are not on this hub" in pulled.err
    assert "github.com/adapter-hub/hub" in pulled.err
    assert not (tmp_path / "to").exists()
    shown = hubctl("info", hit["name"]).out
    assert "adapterhub" in shown
    assert "bert-base-uncased" in shown
    assert "141" in shown
    assert "external" in hubctl("search", "stackexchange").out
