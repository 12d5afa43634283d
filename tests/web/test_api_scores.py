"""Scores over HTTP."""

import pytest

from tests.registry.manifests import digest
from tests.support import shelf


@pytest.fixture
def subject(hub):
    with hub.session() as session:
        adapter = shelf.add_adapter(session, hub.blobs, "acme/copa")
        return shelf.add_version(session, adapter).content


def score(subject, **changes):
    fields = {"dataset": "xcopa", "config": "qu", "metric": "accuracy", "value": 0.562, "n": 500}
    return {"subject": subject, **fields} | changes


def report(hub, token=None, **body):
    with hub.client(token) as client:
        return client.post("/api/v1/scores", json=body)


def listed(hub, subject):
    with hub.client("") as client:
        return client.get("/api/v1/scores", params={"subject": subject})


def test_a_reported_score_is_listed_for_everybody(hub, subject):
    answer = report(hub, **score(subject))
    assert answer.status_code == 201
    assert answer.json()["reported_by"] == "ana"

    assert listed(hub, subject).json() == [answer.json()]


def test_nobody_reports_without_a_token_that_may_write(hub, subject):
    assert report(hub, "", **score(subject)).status_code == 401
    reader = hub.add_user("ben", role="read")
    refused = report(hub, reader, **score(subject))
    assert refused.status_code == 403
    assert "may only read" in refused.json()["message"]
    assert listed(hub, subject).json() == []


def test_a_score_out_of_bounds_is_refused_with_the_remedy(hub, subject):
    answer = report(hub, **score(subject, value=56.2))
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_score"
    assert "if 56.2 is a percentage, write 0.562" in answer.json()["message"]


def test_an_unknown_subject_has_no_scores_and_gets_none(hub):
    assert listed(hub, digest("nothing")).json() == []
    assert report(hub, **score(digest("nothing"))).status_code == 422
    assert listed(hub, "nonsense").status_code == 422


def test_metrics_say_their_direction_unit_and_bounds(hub):
    with hub.client("") as client:
        known = {each["name"]: each for each in client.get("/api/v1/metrics").json()}
    assert known["mlm_loss"] == {
        "name": "mlm_loss",
        "title": "Masked language modelling loss",
        "higher_is_better": False,
        "unit": "nats",
        "lower": 0.0,
        "upper": None,
    }
