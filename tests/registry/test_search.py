"""Finding adapters: what matches, in which order, and who may know of it."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import accounts, facet_counts, revisions, scores, search, search_index
from registry.errors import InvalidQuery
from registry.schemas import ScoreIn
from registry.search_query import SearchQuery
from tests.registry.manifests import digest
from tests.support import shelf


def test_words_are_found_in_names_titles_summaries_cards_and_labels(add, find):
    add("acme/first", "Recognising names", "Trained on newspapers.")
    add("acme/second", card="# Other\n\nA paragraph.\n\nTrained on *legislation* too.\n")
    add("acme/third", **shelf.language_pack("qu"))

    assert find("first") == ["acme/first"]
    assert find("names") == ["acme/first"]
    assert find("newspapers") == ["acme/first"]
    assert find("legislation") == ["acme/second"]
    assert find("quechua") == ["acme/third"]
    assert find("Language adapter") == ["acme/third"]


def test_every_word_must_be_there(add, find):
    add("acme/a", "German names")
    add("acme/b", "German places")
    assert find("german names") == ["acme/a"]
    assert find("german numbers") == []


def test_case_accents_and_endings_do_not_matter(add, find):
    add("acme/a", "Köln questions")
    add("acme/b", "ΑΘΗΝΑ")
    assert find("koln QUESTION") == ["acme/a"]
    assert find("KÖLN") == ["acme/a"]
    assert find("αθηνα") == ["acme/b"]


def test_the_last_word_may_be_a_beginning(add, find):
    add("acme/a", "German sentiment")
    assert find("german senti") == ["acme/a"]
    assert find("ger sentiment") == []


def test_an_exact_name_comes_first(add, find):
    add("acme/other", "ner ner ner ner", "ner " * 30, downloads=1_000_000)
    add("acme/ner", "Something", downloads=1)
    add("zoo/ner", "Something", downloads=5_000)

    assert find("acme/ner")[0] == "acme/ner"
    assert find("ACME/NER ")[0] == "acme/ner"
    assert find("ner") == ["zoo/ner", "acme/ner", "acme/other"]


def test_an_exact_name_is_found_even_below_the_rows_that_are_ranked(add, find, monkeypatch):
    monkeypatch.setattr(search_index._Sqlite, "ranked", 1)
    monkeypatch.setattr(search_index._Postgresql, "ranked", 1)
    add("acme/ner-popular", "About acme/ner", downloads=10_000)
    add("acme/ner", downloads=1)
    assert find("acme/ner") == ["acme/ner", "acme/ner-popular"]
    assert find("acme/ner", facets={"language": ["sw"]}) == []


def test_a_match_in_the_title_beats_one_in_the_card(add, find):
    add("acme/a", card="# Other\n\nOne.\n\nIt also knows sentiment.\n", downloads=1_000)
    add("acme/b", "Sentiment")
    assert find("sentiment") == ["acme/b", "acme/a"]


def test_what_is_equally_near_is_ordered_by_downloads(add, find):
    for name, downloads in [("a", 5), ("b", 500), ("c", 50)]:
        add(f"acme/{name}", "Equal", downloads=downloads)
    assert find("equal") == ["acme/b", "acme/c", "acme/a"]


def test_orders_by_downloads_and_by_date(add, find):
    for name, downloads in [("a", 5), ("b", 500), ("c", 50)]:
        add(f"acme/{name}", downloads=downloads)
    assert find() == ["acme/b", "acme/c", "acme/a"]
    assert find(sort="updated") == ["acme/c", "acme/b", "acme/a"]
    assert find("acme", sort="updated") == ["acme/c", "acme/b", "acme/a"]


def test_facets_narrow_down_and_values_of_one_facet_are_alternatives(add, find):
    add("acme/de", **shelf.language_pack("de"), licence="mit")
    add("acme/fr", **shelf.language_pack("fr"), licence="apache-2.0")
    add("acme/task", tasks=["ner"], languages=["de"], licence="mit")

    assert sorted(find(facets={"language": ["de"]})) == ["acme/de", "acme/task"]
    assert find(facets={"language": ["de"], "kind": ["language"]}) == ["acme/de"]
    assert find(facets={"language": ["de", "fr"], "licence": ["apache-2.0"]}) == ["acme/fr"]
    assert find("acme", facets={"task": ["ner"]}) == ["acme/task"]
    assert find(facets={"base": ["xlm-roberta-base"]}, owner="acme", limit=1) != []
    assert find(facets={"language": ["d"]}) == []


def test_counts_say_what_another_choice_would_find(session, add):
    add("acme/de", **shelf.language_pack("de"))
    add("acme/fr", **shelf.language_pack("fr"))
    add("acme/task", languages=["de"])

    page = search.search(session, SearchQuery(facets={"kind": ["language"]}), None)

    counts = {facet: [(v.value, v.count) for v in values] for facet, values in page.facets.items()}
    assert counts["kind"] == [("language", 2), ("task", 1)]
    assert counts["language"] == [("de", 1), ("fr", 1)]
    assert page.total == 2
    assert [value.label for value in page.facets["language"]] == ["German", "French"]


def test_a_chosen_value_is_listed_even_when_nothing_has_it(session, add):
    add("acme/de", **shelf.language_pack("de"))
    page = search.search(session, SearchQuery(facets={"language": ["sw"]}), None)
    assert page.hits == []
    assert ("sw", 0) in [(value.value, value.count) for value in page.facets["language"]]


def test_a_hit_describes_the_adapter(session, add):
    add("acme/de", "German", "A pack.", **shelf.language_pack("de"), tasks=["fill-mask"])
    [hit] = search.search(session, SearchQuery("german"), None).hits
    assert (hit.title, hit.summary, hit.number) == ("German", "A pack.", "1.0.0")
    assert (hit.kind, hit.method, hit.languages) == ("language", "seq_bn", ["de"])
    assert (hit.tasks, hit.base_name) == (["fill-mask"], "xlm-roberta-base")


def test_an_adapter_without_a_version_is_found_by_name_and_card(session, add):
    add("acme/draft", card=shelf.CARD.format(title="Draft", summary="Not ready."), version=None)
    [hit] = search.search(session, SearchQuery("draft ready"), None).hits
    assert hit.number is None
    assert hit.tasks == ["token-classification"]


def test_the_newest_live_version_describes_the_adapter(session, blobs, add):
    adapter = add("acme/x", **shelf.language_pack("de"))
    shelf.add_revision(session, blobs, adapter, {"note.txt": b"2"})
    shelf.add_version(session, adapter, "2.0.0", **shelf.language_pack("fr"))
    shelf.add_revision(session, blobs, adapter, {"note.txt": b"10"})
    version = shelf.add_version(session, adapter, "10.0.0", **shelf.language_pack("sw"))

    def described():
        [hit] = search.search(session, SearchQuery(owner="acme"), None).hits
        return hit.number, hit.languages

    assert described() == ("10.0.0", ["sw"])
    version.state = "yanked"
    search.index_adapter(session, adapter)
    assert described() == ("2.0.0", ["fr"])


def test_a_union_is_found_by_each_of_its_methods(session, add, find):
    add("acme/mam", method="par_bn|prefix_tuning")
    add("acme/lora", method="lora")
    assert find(facets={"method": ["prefix_tuning"]}) == ["acme/mam"]
    [hit] = search.search(session, SearchQuery("mam"), None).hits
    assert hit.method == "par_bn|prefix_tuning"


# --- who may know ---------------------------------------------------------------------------------


def test_private_adapters_are_found_counted_and_suggested_only_for_those_who_may(
    session, add, ana, ben
):
    organisation = accounts.create_organisation(session, "team", admin=ben)
    add("ana/secret", "Secret", visibility="private")
    add("team/secret", "Secret", visibility="private")
    add("team/open", "Secret")
    assert organisation.kind == "organisation"

    def seen(viewer):
        page = search.search(session, SearchQuery("secret"), viewer)
        suggested = {each.name for each in search.suggest(session, "sec", viewer)}
        names = {hit.name for hit in page.hits}
        assert suggested == {name for name in names if name.endswith("secret")}
        assert page.total == len(names) == sum(value.count for value in page.facets["kind"])
        return names

    assert seen(None) == {"team/open"}
    assert seen(ana) == {"team/open", "ana/secret"}
    assert seen(ben) == {"team/open", "team/secret"}


def test_a_removed_adapter_is_found_no_more(session, add, find, ana):
    adapter = add("ana/x")
    revisions.remove(session, adapter, ana)
    session.flush()
    assert find("x") == find() == []
    assert search.suggest(session, "x", None) == []


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", ["relevance", "downloads", "updated", "name"])
@pytest.mark.parametrize("words", ["", "equal"])
def test_pages_show_everything_once_in_one_order(session, add, sort, words):
    for number in range(11):
        add(f"acme/a{number}", "Equal " * (number % 3 + 1), downloads=number % 4)
    whole = search.search(session, SearchQuery(words, sort=sort, limit=100), None)

    pages, after = [], None
    for _ in itertools.count():
        page = search.search(session, SearchQuery(words, sort=sort, limit=3, after=after), None)
        pages.append([hit.name for hit in page.hits])
        if (after := page.next) is None:
            break

    assert [len(page) for page in pages] == [3, 3, 3, 2]
    assert list(itertools.chain(*pages)) == [hit.name for hit in whole.hits]


@pytest.mark.parametrize("metric", ["accuracy", "mlm_loss"])
def test_sorted_by_score_the_best_value_counts_and_those_without_come_last(
    session, add, ana, metric
):
    values = {1: [0.5], 2: [0.9, 0.1], 3: [], 4: [0.7], 5: [0.7], 6: []}
    for number, found in values.items():
        add(f"acme/a{number}", "Equal")
        for seed, value in enumerate(found):
            report(session, ana, number, metric, value, seed=seed)
    report(session, ana, 3, metric, 0.99, dataset="other")
    taken_back = report(session, ana, 6, metric, 0.95)
    scores.retract(session, taken_back, ana, "wrong")

    def page(limit, after=None, words=""):
        asked = SearchQuery(
            words, sort="score", dataset="xcopa", metric=metric, limit=limit, after=after
        )
        return search.search(session, asked, None)

    higher = metric == "accuracy"
    order = [2, 4, 5, 1, 3, 6] if higher else [2, 1, 4, 5, 3, 6]
    best = {1: 0.5, 2: 0.9 if higher else 0.1, 3: None, 4: 0.7, 5: 0.7, 6: None}
    for words in ("", "equal"):
        hits = page(10, words=words).hits
        assert [hit.name for hit in hits] == [f"acme/a{number}" for number in order]
        assert [hit.score for hit in hits] == [best[number] for number in order]

    walked, after = [], None
    for _ in range(3):
        found = page(2, after)
        walked += [hit.name for hit in found.hits]
        after = found.next
    assert after is None
    assert walked == [f"acme/a{number}" for number in order]


def report(session, account, number, metric, value, dataset="xcopa", **conditions):
    content = digest(("content", f"acme/a{number}", "1.0.0"))
    fields = {"dataset": dataset, "metric": metric, "value": value, "conditions": conditions}
    return scores.record(session, ScoreIn(subject=content, **fields), account)


@pytest.mark.parametrize("fields", [{}, {"dataset": "xcopa"}, {"metric": "accuracy"}])
def test_sorted_by_score_asks_on_what_and_by_what(session, fields):
    with pytest.raises(InvalidQuery, match="one data set by one metric"):
        search.search(session, SearchQuery(sort="score", **fields), None)


@pytest.mark.parametrize(
    "after",
    [
        *("", "x", "é", "AAAA", "bnVsbA", "W10", "e30", "IiI"),
        "WyJ1cGRhdGVkIiwgIm5ldmVyIiwgMV0",  # ["updated", "never", 1]
        "WyJkb3dubG9hZHMiLCB0cnVlLCAxXQ",  # ["downloads", true, 1]
        "WyJkb3dubG9hZHMiLCAxMDAwMDAwMDAwMDAwMDAwMDAwMDAwLCAxXQ",  # a number of 23 digits
        "WyJyZWxldmFuY2UiLCAwLCBOYU4sIDFd",  # ["relevance", 0, NaN, 1]
        "W1tbW1tbW1tb" * 1000,
    ],
)
def test_a_place_that_is_not_ours_is_refused(session, after):
    for sort in ("downloads", "updated", "relevance"):
        query = SearchQuery("x", sort=sort, after=after)
        if after.startswith("WyJyZW") and sort == "relevance":
            assert search.search(session, query, None).hits == []
        else:
            with pytest.raises(InvalidQuery, match="'after' is not a place"):
                search.search(session, query, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"facets": {"colour": ["red"]}}, "no facet 'colour'; choose of kind, language"),
        ({"facets": {"language": ["de"] * 21}}, "21 values; 20 at most"),
        (
            {"sort": "stars"},
            "cannot sort by 'stars': use relevance, downloads, updated, name, score",
        ),
        ({"limit": 0}, "1 to 100 results, not 0"),
        ({"limit": 101}, "1 to 100 results, not 101"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(session, fields, message):
    with pytest.raises(InvalidQuery, match=message):
        search.search(session, SearchQuery(**fields), None)


# --- what people type -----------------------------------------------------------------------------

SYNTAX = [
    *('"', "'", '""', "\\", "*", "a*", "^a", "a:b", "name:x", "{name}:x", "-a", "a -b", "(", ")"),
    *(
        "AND",
        "OR",
        "NOT",
        "NEAR",
        "a AND",
        "NEAR(a b, 2)",
        "a NOT b",
        "a OR",
        "a | b",
        "!a",
        "a & b",
    ),
    *("a <-> b", ":*", "a:*", "'a'", "''", "a''b", "\x00", "a\x00b", "%", "_", ";", "--", "/*"),
    *(
        "🤖",
        "é",
        "\uff02",
        "\uff07",
        "a\uff07b",
        "\u00b4",
        "\u2018a\u2019",
        "≠",
        "İ",
        "ß",
        "हिन्दी",
        "日本語",
        "ﷺ",
        "\u200b",
    ),
    *("the", "a" * 10_000, "a " * 1_000, "x' or 1=1 --", "search_fts", "rowid", "null"),
    *("\u202e", "\ud7ff", "\U0010ffff", "\t\n\r", "½", "²", "①", "a\u0301", "{}", "[]", "~", "`"),
]


def test_nothing_that_is_typed_is_query_syntax(session, add):
    add("acme/a", "a b")
    for typed in SYNTAX:
        search.search(session, SearchQuery(typed), None)
        search.search(session, SearchQuery("a", owner=typed), None)
        search.search(session, SearchQuery(typed, facets={"language": [typed]}), None)
        search.suggest(session, typed, None)


@pytest.fixture
def sqlite_session(migrated_sqlite, tmp_path):
    from sqlalchemy.orm import Session  # noqa: PLC0415

    from tests.support import databases  # noqa: PLC0415

    with databases.sqlite_copy(migrated_sqlite, tmp_path) as engine, Session(engine) as session:
        yield session


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(typed=st.text())
def test_no_text_at_all_breaks_a_search(sqlite_session, typed):
    search.search(sqlite_session, SearchQuery(typed), None)
    search.suggest(sqlite_session, typed, None)


@given(facet=st.sampled_from(["kind", "language", "base"]), value=st.text())
def test_a_token_stands_for_one_value(facet, value):
    token = search_index.token(facet, value)
    assert token.isascii()
    assert token.isalnum()
    assert search_index.value_of(token) == (facet, value)


# --- suggestions ----------------------------------------------------------------------------------


def test_suggestions_complete_a_name_the_popular_ones_first(session, add):
    add("acme/ner-german", "German names", downloads=10)
    add("acme/nli", downloads=1_000)
    add("zoo/sentiment", downloads=5)

    def suggested(text):
        return [each.name for each in search.suggest(session, text, None)]

    assert suggested("n") == ["acme/nli", "acme/ner-german"]
    assert suggested("acme/ne") == ["acme/ner-german"]
    assert suggested("ner ger") == ["acme/ner-german"]
    assert suggested("zoo") == ["zoo/sentiment"]
    assert suggested("") == suggested("/") == []
    assert search.suggest(session, "ner", None)[0].title == "German names"


def test_every_way_to_complete_a_name_finds_the_same(session, add):
    """A rare beginning is looked up; on a hub of this size, all are met before that."""
    for number in range(5):
        add(f"acme/ner-{number}", downloads=10**number)
    add("acme/nli", downloads=5)
    index = search_index.index_of(session)
    for typed, count in (("n", 6), ("ner", 5), ("acme ner", 5), ("ner 3", 1), ("zz", 0)):
        asked = {"typed": index.beginning(search_index.words(typed))}
        found = [session.execute(way, asked).all() for way in index.completing()]
        assert len(found[0]) == count
        assert all(each == found[0] for each in found)


def test_at_most_eight_are_suggested(session, add):
    for number in range(12):
        add(f"acme/a{number}", version=None)
    assert len(search.suggest(session, "acme", None)) == 8


@pytest.mark.parametrize("sort", ["downloads", "updated", "name"])
def test_pages_of_a_broad_facet_are_those_of_a_narrow_one(add, session, monkeypatch, sort):
    for number in range(23):
        add(f"acme/a{number:02}", downloads=number % 5, **shelf.language_pack("qu"))
        add(f"acme/b{number:02}", downloads=number % 5, **shelf.language_pack("sw"))

    def pages():
        found, after = [], None
        while True:
            query = SearchQuery(facets={"language": ["qu"]}, sort=sort, limit=4, after=after)
            hits, after = search.hits(session, query, None)
            found.append([hit.name for hit in hits])
            if after is None:
                return found

    one_by_one = pages()
    monkeypatch.setattr(facet_counts, "MANY", 1)
    monkeypatch.setattr(search, "WALKED", 3)
    assert pages() == one_by_one
    assert sum(map(len, one_by_one)) == 23
