"""Finding adapters at the command line."""

import pytest

from registry import scores
from registry.schemas import ScoreIn
from tests.support import shelf


@pytest.fixture
def scored(logged_in):
    """Three task adapters, two with a score on xcopa."""
    with logged_in.session() as session:
        for name, value in (("low", 0.5), ("high", 0.75), ("none", None)):
            adapter = shelf.add_adapter(session, logged_in.blobs, f"ana/{name}")
            version = shelf.add_version(session, adapter)
            if value is not None:
                body = ScoreIn(
                    subject=version.content, dataset="xcopa", metric="accuracy", value=value
                )
                scores.record(session, body, adapter.owner)
    return logged_in


BY_SCORE = ("search", "--sort", "score", "--dataset", "xcopa", "--metric")


@pytest.mark.usefixtures("scored")
def test_adapters_are_listed_by_score(hubctl):
    hits = hubctl(*BY_SCORE, "accuracy", "--json").json["hits"]
    found = [(hit["name"], hit["score"]) for hit in hits]
    assert found == [("ana/high", 0.75), ("ana/low", 0.5), ("ana/none", None)]
    shown = hubctl(*BY_SCORE, "accuracy").out.splitlines()
    assert "SCORE" in shown[0]
    assert "0.75" in shown[1]
    assert shown[3].startswith("ana/none")
    assert "SCORE" not in hubctl("search").out


@pytest.mark.usefixtures("scored")
def test_pages_go_on_in_the_order_of_scores(hubctl):
    first = hubctl(*BY_SCORE, "accuracy", "--limit", "1", "--json").json
    rest = hubctl(*BY_SCORE, "acc", "--after", first["next"], "--json").json
    assert [hit["name"] for hit in first["hits"] + rest["hits"]] == [
        "ana/high",
        "ana/low",
        "ana/none",
    ]


@pytest.mark.usefixtures("scored")
def test_by_what_is_to_be_said(hubctl):
    ended = hubctl("search", "--sort", "score", "--dataset", "xcopa")
    assert ended.code == 1
    assert "scores compare on one data set by one metric" in ended.err
    assert "nothing" in hubctl(*BY_SCORE, "nothing").err


@pytest.mark.parametrize("option", ["--dataset", "--metric"])
def test_what_belongs_to_an_order_by_score_is_not_ignored_without_it(hubctl, option):
    ended = hubctl("search", option, "xcopa")
    assert ended.code == 2
    assert "--sort score" in ended.err
