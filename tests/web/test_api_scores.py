"""Scores over HTTP."""

import hashlib

import pytest

from tests.registry.manifests import digest
from tests.support import shelf
from tests.support.server import running_server


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
        "aliases": [],
    }


# --- what becomes of a score ---------------------------------------------------------------------


def test_another_value_is_refused_until_it_says_what_it_replaces(hub, subject):
    first = report(hub, **score(subject)).json()
    refused = report(hub, **score(subject, value=0.7))
    assert (refused.status_code, refused.json()["code"]) == (409, "score_exists")
    assert refused.json()["hint"].endswith(f"--supersedes {first['id']}")
    assert report(hub, **score(subject, value=0.7, supersedes=first["id"])).status_code == 201
    with hub.client("") as client:
        asked = {"subject": subject, "history": True}
        history = client.get("/api/v1/scores", params=asked).json()
    assert [(each["value"], each["superseded_by"]) for each in history] == [
        (0.7, None),
        (0.562, history[0]["id"]),
    ]


def test_a_retraction_says_who_when_and_why(hub, subject):
    number = report(hub, **score(subject)).json()["id"]
    other = hub.add_user("ben")
    path = f"/api/v1/scores/{number}/retract"
    with hub.client(other) as client:
        assert client.post(path, json={"reason": "no"}).status_code == 403
    with hub.client() as client:
        answer = client.post(path, json={"reason": "wrong split"}).json()
    assert (answer["retracted_by"], answer["retraction_reason"]) == ("ana", "wrong split")
    assert answer["retracted_at"].endswith("Z")
    assert listed(hub, subject).json() == []
    with hub.client("") as client:
        assert client.get(f"/api/v1/scores/{number}").json() == answer
        assert client.get("/api/v1/scores/999").status_code == 422


# --- verified ------------------------------------------------------------------------------------


def test_evidence_is_kept_only_if_it_is_what_it_is_called(hub):
    data = b"predictions"
    digest = hashlib.sha256(data).hexdigest()
    with hub.client() as client:
        assert client.put(f"/api/v1/evidence/{digest}", content=b"other").status_code == 400
        assert client.put("/api/v1/evidence/nonsense", content=data).status_code == 422
        assert client.put(f"/api/v1/evidence/{digest}", content=data).status_code == 201
    with hub.client("") as client:
        assert client.put(f"/api/v1/evidence/{digest}", content=data).status_code == 401
    assert hub.blobs.read(digest) == data


def test_evidence_has_a_limit(tmp_path):
    with running_server(tmp_path / "small", evidence_limit=8) as hub, hub.client() as client:
        digest = hashlib.sha256(b"123456789").hexdigest()
        answer = client.put(f"/api/v1/evidence/{digest}", content=b"123456789")
        assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")


def test_records_are_put_by_those_who_may(hub):
    with hub.client() as client:  # ana is no operator
        task = client.put("/api/v1/tasks/stance", json={"title": "Stance", "metric": "f1"})
        assert task.json() == {"name": "stance", "title": "Stance", "metric": "f1"}
        named = client.put("/api/v1/datasets/acme/stance", json={"title": "S", "task": "stance"})
        assert named.json()["name"] == "acme/stance"
        metric = {"title": "T", "higher_is_better": True}
        assert client.put("/api/v1/metrics/t", json=metric).status_code == 403
        assert {"name": "stance", "title": "Stance", "metric": "f1"} in client.get(
            "/api/v1/tasks"
        ).json()
        assert named.json() in client.get("/api/v1/datasets").json()


def test_a_leaderboard_is_read_by_its_key(hub, subject):
    report(hub, **score(subject, language="qu", conditions={"zero_shot": True}))
    with hub.client("") as client:
        (board,) = client.get("/api/v1/leaderboards", params={"dataset": "xcopa"}).json()
        key = {field: board[field] for field in ("dataset", "config", "split", "metric")}
        found = client.get("/api/v1/leaderboards/board", params=key | {"language": "qu"}).json()
    assert [group["transfer"] for group in found["groups"]] == ["zero-shot"]
    assert found["groups"][0]["reported"][0]["score"]["ref"] == "acme/copa@1.0.0"


def test_a_hub_client_reads_them_as_evaluation_results(hub, api, subject):
    report(hub, **score(subject))

    (result,) = api.model_info("acme/copa").card_data.eval_results

    assert (result.dataset_type, result.dataset_config) == ("xcopa", "qu")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.562)
    assert result.metric_args["n"] == 500
