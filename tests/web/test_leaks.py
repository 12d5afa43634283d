"""What one may not see does not exist: every route is asked, by nobody and by a stranger.

A private adapter must answer exactly as one that never was. Answers of routes that name no adapter
must hold none of the marks by which the private one could be recognised.
"""

import json
import re

import pytest

from registry import accounts, revisions, scores
from registry.schemas import ScoreIn
from tests.support import shelf
from tests.support.server import running_server

PRIVATE, ABSENT = "secret-one", "absent-one"
DIGEST = "0" * 64
CHANGING = {"date", "x-request-id", "content-length"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("leaks")) as server:
        with server.session() as session:
            fill(session, server)
        server.stranger = server.add_user("eve", "admin")
        with server.session() as session:
            own = shelf.add_adapter(session, server.blobs, "eve/own", card="# Mine\n")
            shelf.add_version(session, own, **shelf.language_pack("qu"))
        yield server


def fill(session, server):
    """A private language adapter, in an organisation, with a former name, a score and a file."""
    ana = shelf.owner(session, "ana")
    accounts.create_organisation(session, "lab", admin=ana)
    shelf.add_base(session, ana)
    fields = shelf.fields(title="Whispered Quechua", tags=["clandestine"], tasks=["fill-mask"])
    adapter = shelf.add_adapter(
        session,
        server.blobs,
        f"lab/{PRIVATE}-before",
        card="---\nlicense: mit\n---\n# Whispered Quechua\n\nA clandestine corpus.\n",
        files={"adapter_config.json": b'{"clandestine": true}'},
        visibility="private",
        downloads=31_415_926,
    )
    version = shelf.add_version(session, adapter, **shelf.language_pack("qu", card=fields))
    revisions.rename(session, adapter, f"lab/{PRIVATE}", ana)
    body = ScoreIn(subject=version.content, dataset="covert-corpus", metric="accuracy", value=0.5)
    server.score = scores.record(session, body, ana).id
    server.content = version.content
    server.revision = version.revision_id
    server.blob = next(
        file.sha256
        for file in revisions.resolve_revision(session, adapter, "main").files
        if file.path == "adapter_config.json"
    )
    server.marks = (
        *(PRIVATE, "hispered", "landestine", "overt-corpus", "31,415,926", "31415926"),
        *(version.content, version.revision_id, server.blob),
    )


@pytest.fixture(params=["nobody", "stranger"])
def client(request, hub):
    with hub.client("" if request.param == "nobody" else hub.stranger) as client:
        yield client


def routes(application):
    """Yield (method, path template) of every route, those of included routers too."""
    for route in application.routes:
        if hasattr(route, "methods"):
            yield from ((method, route.path) for method in sorted(route.methods))
        else:
            yield from routes(route.original_router)


def of_adapters(hub):
    """Return the routes that name one adapter."""
    found = [each for each in routes(hub.app) if "{owner}/{name}" in each[1]]
    assert len(found) > 25
    return found


BODIES = {
    "paths-info": {"data": {"paths": ["README.md"]}},
    "branch": {"json": {}},
    "tag": {"json": {"tag": "x"}},
    "preupload": {"json": {"files": [{"path": "a.txt", "size": 1}]}},
    "commit": {"content": '{"key": "header", "value": {"summary": "s"}}\n'},
    "batch": {"json": {"operation": "upload", "objects": [{"oid": DIGEST, "size": 1}]}},
    "versions": {"json": {"revision": "main"}},
    "settings": {"json": {"visibility": "public"}},
    "{number}": {"json": {"state": "live"}},
}


def ask(client, method, template, name, **values):
    known = {
        "owner": "lab",
        "name": name,
        "revision": "main",
        "selector": "latest",
        "number": "1.0.0",
        "path": "adapter_config.json",
        "branch": "main",
        "tag": "1.0.0",
    } | values
    path = re.sub(r"\{(\w+)(?::path)?\}", lambda found: known[found[1]], template)
    body = {}
    if method not in {"GET", "HEAD"}:
        last = [part for part in template.split("/") if part in BODIES or part.strip("{}") in known]
        key = next((part for part in reversed(last) if part in BODIES), "branch")
        body = BODIES[key]
    return client.request(method, path, headers={"Accept": "application/json"}, **body)


def comparable(answer, name):
    headers = {k: v.replace(name, "N") for k, v in answer.headers.items() if k not in CHANGING}
    body = re.sub(r'"request":"\w+"', "", answer.text.replace(name, "N"))
    return answer.status_code, headers, body


def test_a_private_adapter_answers_as_one_that_never_was(hub, client):
    for method, template in of_adapters(hub):
        for name in (PRIVATE, f"{PRIVATE}-before"):
            there = ask(client, method, template, name)
            missing = ask(client, method, template, ABSENT)
            assert comparable(there, name) == comparable(missing, ABSENT), (method, template)
            # Clients ask for discussions of whatever they show; there never are any.
            quiet = template.endswith("/discussions")
            assert there.status_code in {401, 404} or quiet, (method, template)


def test_pages_of_a_private_adapter_answer_as_those_that_never_were(hub, client):
    for suffix in ("", "/versions/1.0.0", "/compare", "/resolve/main/README.md"):
        pages = {
            name: client.get(f"/lab/{name}{suffix}", headers={"Accept": "text/html"})
            for name in (PRIVATE, ABSENT)
        }
        texts = {
            name: re.sub(r"request_id=\w+", "", page.text)
            .replace(name, "N")
            .replace(name.replace("-", " "), "N")
            for name, page in pages.items()
        }
        assert texts[PRIVATE] == texts[ABSENT]
        assert {page.status_code for page in pages.values()} == {404}


def test_what_its_digests_name_answers_as_what_never_was(hub, client):
    pairs = [
        ("/api/v1/scores?subject={}", hub.content, f"sha256:{DIGEST}"),
        ("/api/v1/scores/{}", str(hub.score), "98765"),
        ("/api/v1/diff?before=eve/own@{}&after=eve/own", hub.content, f"sha256:{DIGEST}"),
        ("/eve/own/resolve/{}/README.md", hub.revision, "0" * 40),
        ("/api/v1/adapters/eve/own/versions/{}", hub.content, f"sha256:{DIGEST}"),
    ]
    for template, private, absent in pairs:
        there, missing = (client.get(template.format(each)) for each in (private, absent))
        assert comparable(there, private) == comparable(missing, absent), template


def test_no_list_count_or_feed_holds_a_mark_of_it(hub, client):
    plain = [path for method, path in routes(hub.app) if method == "GET" and "{" not in path]
    assert len(plain) > 20
    asked = [
        *plain,
        *(f"/{owner}" for owner in ("lab", "ana", "eve")),
        *(f"/api/v1/search?q={word}" for word in ("whispered", "clandestine", "secret", "lab/")),
        *("/api/v1/search?language=qu", "/api/v1/search?owner=lab", "/api/v1/search?kind=language"),
        *("/search?q=whispered", "/search?language=qu", "/search?owner=lab"),
        *("/api/v1/suggest?q=lab/", "/api/v1/suggest?q=secret", "/api/v1/suggest?q=s"),
        *("/api/models?author=lab", "/api/models?search=secret", "/api/models?full=true"),
        *("/api/models?filter=qu", "/api/models?sort=downloads&expand=cardData"),
        "/api/organizations/lab/settings/repositories",
        "/api/v1/base-models?full=true",
        "/api/v1/leaderboards?dataset=covert",
        "/api/v1/matrix?base=xlm-roberta-base",
        *("/base-models", "/base-models/xlm-roberta-base"),
    ]
    for path in asked:
        answer = client.get(path)
        assert answer.status_code < 500, path
        said = answer.text.replace(f"q={PRIVATE}", "")
        for mark in hub.marks:
            if mark not in path and mark.lower() not in path.lower():
                assert mark not in said, (path, mark)
    found = client.get("/api/v1/search?language=qu").json()
    assert [hit["name"] for hit in found["hits"]] == ["eve/own"]
    assert found["total"] == 1
    assert [value["count"] for value in found["facets"]["language"]] == [1]


def test_the_resolver_neither_takes_nor_names_it(hub, client):
    for filling in ({"language": "qu"}, f"lab/{PRIVATE}", {"language": "en"}):
        recipe = {"base": shelf.BASE, "slots": {"lang": filling}, "setup": "lang"}
        answer = client.post("/api/v1/resolve", json=recipe)
        assert PRIVATE not in answer.text.replace(f"'lab/{PRIVATE}'", "")
        assert hub.content not in answer.text
    assert client.post("/api/v1/resolve", json=recipe).status_code == 409


def test_it_fits_no_base_as_far_as_others_are_told(hub, client):
    answer = client.post("/api/v1/base-models/fits", json={"base": shelf.BASE})
    assert [fit["name"] for fit in answer.json()] == ["eve/own"]


def test_knowing_a_digest_attaches_nothing(hub):
    with hub.client(hub.stranger) as eve:
        body = {"operation": "upload", "objects": [{"oid": hub.blob, "size": 21}]}
        (item,) = eve.post("/eve/own.git/info/lfs/objects/batch", json=body).json()["objects"]
        assert "actions" in item  # as for bytes that nobody has sent
        lines = [
            {"key": "header", "value": {"summary": "s", "description": ""}},
            {
                "key": "lfsFile",
                "value": {"path": "x.json", "algo": "sha256", "oid": hub.blob, "size": 21},
            },
        ]
        answer = eve.post(
            "/api/models/eve/own/commit/main",
            content="\n".join(map(json.dumps, lines)) + "\n",
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "blob_missing")


def test_its_members_and_operators_see_it(hub):
    with hub.session() as session:
        root = accounts.create_user(session, "root", operator=True)
        token = accounts.create_token(session, root, "test")
    for each in (hub.token, token):
        with hub.client(each) as insider:
            assert insider.get(f"/lab/{PRIVATE}").status_code == 200
            assert insider.get("/api/v1/search?language=qu").json()["total"] == 2
