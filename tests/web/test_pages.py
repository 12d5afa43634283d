"""Pages as they are sent: what they say, what they keep to themselves, and under which headers."""

import html
import re
import zlib
from html.parser import HTMLParser

import pytest

from registry import accounts, revisions
from tests.support import catalogue, shelf
from tests.support.packages import HEAD, bert, make_folder, registration
from tests.support.server import running_server
from web.pages import rendering

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PATHS = [
    *("/", "/search", "/search?q=language&kind=language", "/search?q=nothingatall", "/acme"),
    *("/acme/ner", "/acme/ner/versions/1.0.0", "/lab/xlmr-de", "/ana/draft", "/many"),
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("pages")) as server:
        catalogue.fill(server)
        yield server


@pytest.fixture(scope="module")
def visitor(hub):
    """Somebody with a browser and without a token."""
    with hub.client(token="") as client:
        client.headers.update(HTML)
        yield client


@pytest.fixture
def text(visitor):
    """Return what a page says, without its markup."""

    def text(path, status=200):
        answer = visitor.get(path)
        assert answer.status_code == status
        plain = re.sub(r"<[^>]+>", " ", answer.text)
        return " ".join(html.unescape(plain).split())

    return text


# --- what pages say -------------------------------------------------------------------------------


def test_the_first_page_counts_and_leads_on(visitor, text):
    said = text("/")
    assert "34 adapters" in re.sub(r"(adapters) (34)", r"\2 \1", said)
    for heading in ("By kind", "By language", "Most downloaded", "Recently updated"):
        assert heading in said
    assert "/search?language=sw" in visitor.get("/").text


def test_an_empty_hub_tells_what_to_do(tmp_path):
    with running_server(tmp_path / "hub") as server, server.client(token="") as client:
        page = client.get("/", headers=HTML).text
        assert "This hub is empty" in page
        assert f"hubctl login --endpoint {server.url}" in page


def test_results_show_hits_facets_and_orders(visitor, text):
    said = text("/search?q=language")
    assert "2 adapters for “language”" in said
    assert "Language pack sw" in said
    assert "Swahili" in said
    assert "Best match" in said
    assert "/search?q=language&amp;language=sw" in visitor.get("/search?q=language").text


def test_a_chosen_filter_can_be_taken_back(visitor):
    page = visitor.get("/search?q=language&language=sw&language=de").text
    assert 'href="/search?q=language&amp;language=de"' in page
    assert 'href="/search?q=language"' in page


def test_all_results_are_reached_by_their_links(visitor):
    seen, path = [], "/search?sort=name"
    while path:
        page = visitor.get(path).text
        seen += re.findall(r'class="hit-name"><a href="/([^"]+)"', page)
        following = re.search(r'class="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else None
    assert len(seen) == len(set(seen)) == 34
    assert seen == sorted(seen)


def test_a_search_that_finds_nothing_says_what_to_try(text):
    assert "Nothing matches" in text("/search?q=nothingatall")


def test_an_adapter_says_what_it_is_and_needs(text):
    said = text("/acme/ner")
    for part in (
        "Named entities",
        (
            "Trained on top of a language adapter: seq_bn in layers 0-3, at the output, with a "
            "NICE invertible part."
        ),
        "What it has in layer 3 is left out when it is loaded.",
        "It comes with a tagging head for 2 labels: O, B-PER.",
        "hubctl pull acme/ner@2.0.0",
        "The base is identified by its weights, not by its name",
        "1,234",
        "apache-2.0",
        "Dates are not tagged.",
    ):
        assert part in said


def test_a_language_adapter_says_how_to_swap_to_it(text):
    assert "hubctl swap ./setup --language sw" in text("/lab/xlmr-sw")


def test_scores_say_direction_uncertainty_and_set_up(visitor, text):
    said = text("/acme/ner")
    assert "0.641 ± 0.015" in said
    assert "(higher is better)" in said
    assert "(lower is better)" in said
    assert "lang: lab/xlmr-sw@1.0.0" in said
    assert "zero shot: yes" in said
    assert 'href="/lab/xlmr-sw/versions/1.0.0"' in visitor.get("/acme/ner").text
    assert "0.641" in text("/lab/xlmr-sw")


def test_the_configuration_is_a_tree_with_long_lists_folded(visitor):
    page = visitor.get("/acme/ner").text
    assert "1,000 values: 0, 1, 2" in page
    assert "and 800 more in adapter_config.json" in page
    assert '<span class="value null">none</span>' in page or ">none<" in page


def test_files_can_be_fetched_by_their_links(visitor):
    page = visitor.get("/acme/ner").text
    links = re.findall(r'href="(/acme/ner/resolve/[^"]+)" download', page)
    assert len(links) == 3
    for link in links:
        assert visitor.get(link, follow_redirects=True).status_code == 200


def test_a_deprecated_version_names_its_successor(visitor, text):
    assert "Version 1.0.0 is deprecated." in text("/acme/ner/versions/1.0.0")
    assert 'href="/acme/ner/versions/2.0.0"' in visitor.get("/acme/ner/versions/1.0.0").text


def test_a_quarantined_version_is_listed_but_leads_nowhere(visitor, text):
    page = visitor.get("/acme/ner").text
    assert "quarantined" in page
    assert "/acme/ner/versions/1.1.0" not in page
    assert "There is nothing here" in text("/acme/ner/versions/1.1.0", status=404)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/acme/ner/versions/latest", "/acme/ner/versions/2.0.0"),
        ("/acme/ner/versions/%5E1", None),
        ("/acme/ner/versions/v2.0.0", "/acme/ner/versions/2.0.0"),
        ("/ACME/ner", "/acme/ner"),
    ],
)
def test_other_ways_to_say_a_version_lead_to_its_page(visitor, path, target):
    answer = visitor.get(path)
    if target is None:
        assert answer.status_code == 404  # 1.0.0 is deprecated, 1.1.0 quarantined
    else:
        assert (answer.status_code, answer.headers["Location"]) == (302, target)


def test_an_adapter_without_a_version_says_how_to_publish_one(text):
    said = text("/ana/draft")
    assert "no version that can be used by its number" in said
    assert "hubctl push ./draft ana/draft" in said
    assert "Not checked yet." in said


def test_an_owner_shows_their_adapters_page_by_page(visitor, text):
    assert "1 adapter" in text("/acme")
    assert "30 adapters" in text("/many")


def test_a_base_model_lists_what_fits_it(text):
    assert "xlm-roberta-base" in text("/base-models")
    shown = text("/base-models/xlm-roberta-base")
    assert "What fits" in shown
    assert "lab/xlmr-de v1.0.0" in shown
    assert "Fits the same weights, embeddings and tokenizer" in shown
    assert "ana/secret" not in shown
    assert text(f"/base-models/{shelf.BASE['body']}") == shown
    assert "No base model nothing is registered" in text("/base-models/nothing", 404)


def test_numbers_and_sizes_are_for_people():
    assert rendering.size(0) == "0 B"
    assert rendering.size(1_000) == "1.0 kB"
    assert rendering.size(999_499) == "999 kB"
    assert rendering.size(999_500) == "1.0 MB"
    assert rendering.size(7_200_000_000) == "7.2 GB"
    assert rendering.decimal(0.5624, "fraction") == "0.562"
    assert rendering.decimal(1234.5, "points") == "1,234.50"


# --- what they keep to themselves -----------------------------------------------------------------


def test_a_private_adapter_is_on_no_page(visitor, text):
    for path in [*PATHS, "/ana", "/search?q=secret", "/search?owner=ana"]:
        answer = visitor.get(path)
        page = answer.text.replace("for “secret”", "").replace('value="secret"', "")
        assert "ana/secret" not in page, path
    assert text("/ana/secret", status=404) == text("/ana/secreu", status=404).replace(
        "secreu", "secret"
    )


def test_its_owner_sees_it(hub):
    with hub.client() as client:
        assert "Secret" in client.get("/ana/secret", headers=HTML).text


@pytest.mark.parametrize("path", PATHS)
def test_pages_run_no_code_of_others(visitor, path):
    answer = visitor.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert not re.search(r"<script(?! src=)|\sstyle=|\son\w+=|javascript:", answer.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


def test_what_is_typed_comes_back_as_text(visitor):
    typed = '"><script>alert(1)</script>'
    page = visitor.get("/search", params={"q": typed, "language": typed, "owner": typed}).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


class Attributes(HTMLParser):
    """The names of all attributes that a browser would see."""

    def __init__(self, page):
        super().__init__()
        self.names = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.names |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    "title", ["<script>alert(1)</script>", "{{ 7 * 7 }}", '" onmouseover="alert(1)']
)
def test_names_others_gave_come_back_as_text(hub, visitor, title):
    name = f"ana/x{zlib.crc32(title.encode())}"
    with hub.session() as session:
        adapter = shelf.add_adapter(session, hub.blobs, name, card=f"# {title}\n\n{title}\n")
        shelf.add_version(
            session,
            adapter,
            card=shelf.fields(title=title, summary=title, licence=title, tasks=[title]),
            configuration={title: title},
            languages=[],
            datasets=[{"name": title}],
            training={title: [title]},
        )
    for path in (f"/{name}", "/search?sort=updated", "/"):
        page = visitor.get(path).text
        assert "alert" in page or "{{" in page
        assert "<script>alert" not in page
        assert ">49<" not in page
        assert not [name for name in Attributes(page).names if name.startswith("on")]
    with hub.session() as session:
        session.merge(adapter).removed_at = adapter.created_at


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nobody", 404, "Nobody is called 'nobody' here."),
        ("/acme/nothing", 404, "No adapter is called 'acme/nothing' here."),
        ("/acme/ner/versions/9.9.9", 404, "has no revision, branch, tag or version '9.9.9'"),
        ("/acme/ner/versions/newest", 422, "selects no version"),
        ("/a/b/c/d/e", 404, "No page is at /a/b/c/d/e."),
        ("/search?sort=best", 422, "The parameter sort"),
        ("/search?after=x", 422, "is not a place in these results"),
        ("/search?limit=1000", 422, "The parameter limit"),
    ],
)
def test_a_browser_gets_errors_as_pages(text, path, status, words):
    assert words in text(path, status=status)


def test_everybody_else_gets_errors_as_before(hub):
    with hub.client(token="") as client:
        answer = client.get("/acme/nothing")
        assert answer.status_code == 404
        assert answer.json()["code"] == "adapter_not_found"
        assert answer.headers["X-Error-Code"] == "RepoNotFound"
        api = client.get("/api/v1/adapters/acme/nothing", headers=HTML)
        assert api.headers["Content-Type"] == "application/json"


def test_a_page_that_fails_says_so_and_no_more(hub, visitor, monkeypatch):
    monkeypatch.setattr("registry.catalogue.totals", lambda *_: 1 / 0)
    with hub.client(token="") as client:
        answer = client.get("/", headers=HTML)
    assert answer.status_code == 500
    assert "The hub failed" in answer.text
    assert "tell its operator the request id" in answer.text
    assert "division" not in answer.text


# --- static files ---------------------------------------------------------------------------------


def test_static_files_are_kept_for_ever_under_their_digest(visitor):
    page = visitor.get("/").text
    found = re.findall(r'"(/static/[^"]+)"', page)
    assert {path.rpartition(".")[2] for path in found} == {"css", "js", "svg"}
    for path in found:
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    stale = re.sub(r"/static/\w+/", "/static/0000000000000000/", found[0])
    assert visitor.get(stale).status_code == 404


def test_pages_are_small(visitor):
    assert len(visitor.get("/").content) < 40_000
    assets = re.findall(r'"(/static/[^"]+)"', visitor.get("/").text)
    assert sum(len(visitor.get(path).content) for path in assets) < 40_000


# --- after a real publish -------------------------------------------------------------------------


def test_what_is_published_is_found_and_shown_at_once(tmp_path):
    base = bert()
    with running_server(tmp_path / "hub") as server, server.client() as client:
        announced = registration(base)
        client.post("/api/v1/base-models", json=announced.model_dump()).raise_for_status()
        card = "---\nlicense: mit\n---\n# Quechua names\n\nFinds rivers.\n"
        made = make_folder(base, identity=announced.identity.model_dump(), head=HEAD, card=card)
        with server.session() as session:
            ana = accounts.find(session, "ana")
            adapter = revisions.create_adapter(session, ana, "ana/ner")
            shelf.add_revision(session, server.blobs, adapter, made.contents(), branch="incoming/1")
        published = client.post(
            "/api/v1/adapters/ana/ner/versions", json={"revision": "incoming/1"}
        )
        assert published.status_code == 201

        found = client.get("/search?q=rivers", headers=HTML).text
        assert "1 adapter for" in found
        assert "Quechua names" in found
        page = client.get("/ana/ner", headers=HTML).text
        assert "hubctl pull ana/ner@1.0.0" in page
        assert "seq_bn in layers" in page
        assert announced.identity.body in page


# --- the same over the API ------------------------------------------------------------------------


def test_the_api_sorts_by_score_and_pages_go_on_in_that_order(hub):
    asked = {"sort": "score", "dataset": "wikiann", "metric": "perplexity", "limit": 2}
    with hub.client(token="") as client:
        first = client.get("/api/v1/search", params=asked).json()
        best, other = first["hits"]
        assert (best["name"], best["score"], other["score"]) == ("acme/ner", 4.2, None)
        second = client.get("/api/v1/search", params=asked | {"after": first["next"]}).json()
        names = {hit["name"] for hit in first["hits"]}
        assert names.isdisjoint(hit["name"] for hit in second["hits"])
        for wrong in ({"dataset": None}, {"metric": None}, {"metric": "nothing"}):
            refused = client.get("/api/v1/search", params=asked | wrong)
            assert refused.status_code == 422
        plain = client.get("/api/v1/search", params=asked | {"sort": "name"}).json()
        assert {hit["score"] for hit in plain["hits"]} == {None}


def test_the_api_searches_suggests_and_describes(hub):
    with hub.client(token="") as client:
        found = client.get("/api/v1/search", params={"q": "language", "language": "sw"}).json()
        assert [hit["name"] for hit in found["hits"]] == ["lab/xlmr-sw"]
        assert found["total"] == 1
        suggested = client.get("/api/v1/suggest", params={"q": "xlmr"}).json()
        assert {each["name"] for each in suggested} == {"lab/xlmr-de", "lab/xlmr-sw"}
        about = client.get("/api/v1/adapters/acme/ner").json()
        assert about["latest"]["url"] == f"{hub.url}/acme/ner/versions/2.0.0"
        assert len(about["scores"]) == 2
        assert client.get("/api/v1/health").json() == {"status": "ok"}
        refused = client.get("/api/v1/search", params={"after": "x"})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_query")


@pytest.mark.parametrize("path", ["/", "/search", "/acme/ner", "/nobody/nothing"])
def test_a_page_answers_head_as_get_without_its_body(visitor, path):
    whole, head = visitor.get(path), visitor.head(path)
    assert head.status_code == whole.status_code
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
