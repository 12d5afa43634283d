"""Numbering revisions and registering bases, over HTTP."""

import io

import pytest

from registry import accounts, publish, revisions
from registry.errors import AdapterNotFound
from tests.support.packages import HEAD, bert, make_folder, noise, registration

BASE = bert()
REGISTRATION = registration(BASE)
VERSIONS = "/api/v1/adapters/ana/ner/versions"
BASES = "/api/v1/base-models"


def folder(**options):
    identity = REGISTRATION.identity.model_dump()
    return make_folder(BASE, **({"identity": identity, "head": HEAD} | options))


@pytest.fixture
def client(hub):
    with hub.client() as client:
        yield client


@pytest.fixture
def based(client):
    """The base of all folders is registered."""
    client.post(BASES, json=REGISTRATION.model_dump()).raise_for_status()


def upload(hub, made, branch="incoming/1", *, visibility="public"):
    """Leave a folder on the hub as an upload does, without a version; return its revision."""
    with hub.session() as session:
        ana = accounts.find(session, "ana")
        try:
            adapter = revisions.find_adapter(session, "ana/ner", ana)
        except AdapterNotFound:
            adapter = revisions.create_adapter(session, ana, "ana/ner", visibility)
        operations = []
        for path, data in made.contents().items():
            stored = hub.blobs.store(io.BytesIO(data))
            revisions.record_upload(session, adapter, stored)
            operations.append(revisions.Add(path, stored.sha256))
        return revisions.commit(session, adapter, branch, operations, title="Upload", author=ana).id


# --- versions ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("based")
def test_an_uploaded_revision_gets_a_number_and_can_be_read(hub, client):
    revision = upload(hub, folder())
    answer = client.post(VERSIONS, json={"revision": "incoming/1"})
    assert answer.status_code == 201
    published = answer.json()
    assert published["ref"] == "ana/ner@1.0.0"
    assert published["revision"] == revision
    assert published["created"] is True
    assert published["url"].startswith(hub.url)

    for selector in ("1.0.0", "latest", "^1", published["content"], revision):
        detail = client.get(f"{VERSIONS}/{selector}").json()
        assert detail["number"] == "1.0.0"
        assert detail["manifest"]["method"] == "seq_bn"
        assert {file["path"] for file in detail["files"]} == set(folder().contents())


@pytest.mark.usefixtures("based")
def test_repeating_a_publish_answers_200_with_the_same_version(hub, client):
    upload(hub, folder())
    first = client.post(VERSIONS, json={"revision": "incoming/1", "number": "1.0.0"})
    upload(hub, folder(), "incoming/2")
    again = client.post(VERSIONS, json={"revision": "incoming/2", "number": "1.0.0"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"created": False}


@pytest.mark.usefixtures("based")
def test_a_number_that_is_taken_or_wrong_is_refused_with_what_to_do(hub, client):
    upload(hub, folder())
    client.post(VERSIONS, json={"revision": "incoming/1", "number": "1.0.0"})
    upload(hub, folder(seed=1), "incoming/2")

    taken = client.post(VERSIONS, json={"revision": "incoming/2", "number": "1.0.0"})
    assert (taken.status_code, taken.json()["code"]) == (409, "version_exists")

    wrong = client.post(VERSIONS, json={"revision": "incoming/2", "number": "1.0.1"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "wrong_version_number")
    assert wrong.json()["use"] == "1.1.0"
    assert "tensor" in wrong.json()["message"]

    nonsense = client.post(VERSIONS, json={"revision": "incoming/2", "number": "one"})
    assert (nonsense.status_code, nonsense.json()["code"]) == (422, "invalid_name")


@pytest.mark.usefixtures("based")
def test_every_fault_of_a_package_is_in_the_answer(hub, client):
    broken = folder()
    first, second = list(broken.tensors)[:2]
    del broken.tensors[first]
    broken.tensors[second] = noise((9, 9), "F32", 1)
    upload(hub, broken)
    answer = client.post(VERSIONS, json={"revision": "incoming/1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_package")
    problems = "\n".join(answer.json()["problems"])
    assert first in problems
    assert second in problems
    assert client.get(f"{VERSIONS}/latest").status_code == 404


def test_without_its_base_a_revision_gets_no_version(hub, client):
    upload(hub, folder())
    answer = client.post(VERSIONS, json={"revision": "incoming/1"})
    assert answer.json()["code"] == "base_model_not_found"
    assert "hubctl push" in answer.json()["message"]


@pytest.mark.usefixtures("based")
def test_only_those_who_may_write_publish_and_only_those_who_may_see_read(hub, client):
    upload(hub, folder(), visibility="private")
    body = {"revision": "incoming/1"}
    with hub.client(token="") as nobody, hub.client(hub.add_user("ben")) as ben:
        assert nobody.post(VERSIONS, json=body).status_code == 401
        assert ben.post(VERSIONS, json=body).status_code == 404
        assert client.post(VERSIONS, json=body).status_code == 201
        assert nobody.get(f"{VERSIONS}/latest").status_code == 404
        assert ben.get(f"{VERSIONS}/latest").status_code == 404
        with hub.session() as session:
            adapter = revisions.find_adapter(session, "ana/ner", _account(session, "ana"))
            adapter.visibility = "public"
        assert ben.get(f"{VERSIONS}/latest").status_code == 200
        assert ben.post(VERSIONS, json=body).status_code == 403


@pytest.mark.usefixtures("based")
def test_nobody_waits_for_the_lock_while_bytes_are_read(hub, client, monkeypatch):
    """The check runs before the writing transaction: another writer gets through meanwhile."""
    upload(hub, folder())
    check, written = publish.check_revision, []

    def watched(*args):
        with hub.session() as session:
            revisions.find_adapter(session, "ana/ner", _account(session, "ana")).downloads += 1
            written.append(True)
        return check(*args)

    monkeypatch.setattr(publish, "check_revision", watched)
    assert client.post(VERSIONS, json={"revision": "incoming/1"}).status_code == 201
    assert written == [True]


def _account(session, name):
    return accounts.find(session, name)


# --- base models ---------------------------------------------------------------------------------


def test_a_base_is_registered_listed_and_described(hub, client):
    body = REGISTRATION.model_dump()
    answer = client.post(BASES, json=body)
    assert answer.status_code == 201
    assert answer.json()["identity"] == body["identity"]
    assert client.post(BASES, json=body).json() == answer.json()

    for query in ({}, {"name": "tiny/bert"}, {"body": body["identity"]["body"]}):
        (listed,) = client.get(BASES, params=query).json()
        assert listed["config"] is None
    (full,) = client.get(BASES, params={"full": "true"}).json()
    assert full["tensors"] == body["tensors"]
    assert full["config"] == body["config"]
    assert client.get(BASES, params={"name": "other"}).json() == []


def test_a_base_counts_the_adapters_that_the_caller_may_see(hub, client, based):
    upload(hub, folder(), visibility="private")
    client.post(VERSIONS, json={"revision": "incoming/1"})
    assert client.get(BASES).json()[0]["adapters"] == 1
    with hub.client(token="") as nobody:
        assert nobody.get(BASES).json()[0]["adapters"] == 0


def test_registering_needs_a_token_that_may_write_and_a_document_that_makes_sense(hub, client):
    body = REGISTRATION.model_dump()
    with hub.client(token="") as nobody, hub.client(hub.add_user("ben", "read")) as reader:
        assert nobody.post(BASES, json=body).status_code == 401
        assert reader.post(BASES, json=body).status_code == 403
    answer = client.post(BASES, json=body | {"config": {}})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_base_model")
    assert "config.model_type" in answer.json()["message"]
