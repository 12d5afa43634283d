"""AdapterHub's cards become external adapters: all, cleaned in the open, again and again."""

from collections import Counter

import pytest
from sqlalchemy import func, select

from registry import (
    adapterhub_cards,
    candidates,
    catalogue,
    importing,
    leaderboards,
    revisions,
    scores,
    search,
)
from registry.errors import ExternalOnly, InvalidPackage, NotAllowed
from registry.models import Adapter, External, Score, Version
from registry.schemas import Need, Recipe
from registry.search import SearchQuery
from tests.support import adapterhub_tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return adapterhub_tree.make(tmp_path_factory.mktemp("cards"))


@pytest.fixture(scope="module")
def checkout(folder):
    return adapterhub_cards.read(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return adapterhub_tree.make(tmp_path_factory.mktemp("few"), cards=40)


@pytest.fixture
def imported(session, small, operator):
    return importing.import_checkout(session, adapterhub_cards.read(small), operator)


def kinds(cleanings):
    return Counter(each.kind for each in cleanings)


# --- reading -------------------------------------------------------------------------------------


def test_every_readable_card_is_read_and_every_other_reported(folder, checkout):
    written = {str(path.relative_to(folder)) for path, _ in adapterhub_tree.documents(folder)}
    assert {card.path for card in checkout.cards} == written
    assert len(checkout.cards) == 293
    unread = {each.card for each in checkout.cleanings if each.kind in ("unreadable", "left out")}
    assert unread == {f"adapters/broken/{name}.yaml" for name in adapterhub_tree.UNREADABLE}


def test_nothing_that_a_card_says_is_lost(folder, checkout):
    """Compared with the plainest reading there is."""
    cards = {card.path: card for card in checkout.cards}
    for path, document in adapterhub_tree.documents(folder):
        card = cards[str(path.relative_to(folder))]
        assert (card.task, card.subtask, card.base) == (
            document["task"],
            document["subtask"],
            document["model_name"],
        )
        assert len(card.variants) == len(document["files"])
        assert [v.score for v in card.variants] == [f.get("score") for f in document["files"]]
        assert card.configuration.items() >= document["config"].items()


def test_every_kind_of_dirt_is_cleaned_in_the_open(checkout):
    found = kinds(checkout.cleanings)
    assert set(found) == {
        *("unreadable", "left out", "unknown field", "renamed", "unknown architecture"),
        *("language", "unknown language", "metric", "variants are data sets"),
        *("repeated version", "no address", "no digest", "no default", "dependency"),
    }
    said = {each.text for each in checkout.cleanings}
    assert {"'english' is en", "'English' is en", "'F1' is f1"} <= said
    assert "141 of them" in said


def test_languages_are_read_as_text(checkout):
    """YAML takes `no`, which is Norwegian, for a falsehood."""
    languages = {card.language for card in checkout.cards if card.kind == "language"}
    assert {"no", "zh"} <= languages
    assert {card.method for card in checkout.cards if card.kind == "language"} == {"seq_bn_inv"}


def test_names_of_subtasks_that_mean_several_are_counted(checkout):
    assert checkout.ambiguous.keys() == {"wiki", "cc100", "conll2003", "ud_ewt"}
    assert (checkout.ambiguous["conll2003"], checkout.ambiguous["ud_ewt"]) == (3, 3)


def test_a_dependency_leads_to_a_card_only_when_it_can_mean_no_other(checkout):
    by_name = {f"adapterhub/{card.name}": card for card in checkout.cards}
    for card in checkout.cards:
        for dependency in card.dependencies:
            meant = [
                other
                for other in checkout.cards
                if other.base == card.base and dependency["key"] in other.specifiers
            ]
            if len(meant) == 1:
                assert by_name[dependency["adapter"]] == meant[0]
            else:
                assert "adapter" not in dependency


def test_one_file_name_of_two_organisations_becomes_two_names(checkout):
    names = {card.name for card in checkout.cards}
    assert {"ukp-shared_name", "other-shared_name"} <= names
    assert len(names) == len(checkout.cards)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(InvalidPackage, match="no folder 'adapters'"):
        adapterhub_cards.read(tmp_path)


# --- recording -----------------------------------------------------------------------------------


def test_all_cards_of_the_repository_are_imported_twice_without_a_difference(
    session, checkout, operator
):
    first = importing.import_checkout(session, checkout, operator)
    rows = [session.scalar(select(func.count()).select_from(t)) for t in (Adapter, External, Score)]
    assert rows[0] == first.counts["added"] == 293
    assert rows[1] == sum(len(card.variants) for card in checkout.cards)

    second = importing.import_checkout(session, checkout, operator)

    assert second.counts["unchanged"] == 293
    assert not second.counts["added"] + second.counts["updated"] + second.counts["scores"]
    assert second.counts["scores unchanged"] == first.counts["scores"] == rows[2]
    assert rows == [
        session.scalar(select(func.count()).select_from(t)) for t in (Adapter, External, Score)
    ]
    assert second.notes == first.notes


def test_scores_are_imported_by_their_metric_or_kept_as_text(session, small, imported, operator):
    """Recomputed from the files: what has a known metric and a number is a score."""
    expected = Counter()
    for _, document in adapterhub_tree.documents(small):
        _, metric, _ = adapterhub_tree.SUBTASKS.get(
            (document["task"], document["subtask"]), (None, None, None)
        )
        for entry in document["files"]:
            if "score" not in entry:
                continue
            usable = metric not in (None, "wer", "sharpness") and "." in entry["score"][:5]
            usable = usable and "/" not in entry["score"]
            expected["scores" if usable else "kept"] += 1
    assert imported.counts["scores"] == expected["scores"]
    kept = [note for note in imported.notes if note[1] == "score kept as text"]
    assert len(kept) == expected["kept"]
    for score in session.scalars(select(Score)):
        assert score.source == "imported"
        assert score.split == importing.UNSTATED
    boards = leaderboards.boards(session, None)
    assert {board.metric for board in boards} >= {"accuracy", "f1"}


def test_external_adapters_are_found_and_marked(session, imported):
    found = search.search(session, SearchQuery(text="conll2003", facets={"kind": ["task"]}), None)
    assert found.hits
    assert {hit.external for hit in found.hits} == {"adapterhub"}
    norwegian = search.search(session, SearchQuery(facets={"language": ["no"]}), None)
    assert [hit.kind for hit in norwegian.hits] == ["language"]
    for adapter in session.scalars(select(Adapter)):  # as a reindex does
        search.index_adapter(session, adapter)
    again = search.search(session, SearchQuery(facets={"language": ["no"]}), None)
    assert again.hits == norwegian.hits


def test_external_adapters_never_resolve_and_say_why(session, imported, operator):
    adapter = session.scalars(select(Adapter)).first()
    assert session.scalar(select(func.count()).select_from(Version)) == 0
    recipe = Recipe(base=None, slots={"task": adapter.name}, setup="task")
    need = Recipe(
        base={"name": adapter.external["base"]}, slots={"task": Need(language="no")}, setup="task"
    )
    assert candidates.candidates_for(session, need, None)[0] == {"task": []}
    for attempt in (
        lambda: candidates.candidates_for(session, recipe, None),
        lambda: catalogue.find_version(session, adapter, "latest"),
        lambda: revisions.resolve_revision(session, adapter, "main"),
        lambda: revisions.commit(session, adapter, "main", [], title="x", author=operator),
    ):
        with pytest.raises(ExternalOnly, match="its weights are not on this hub") as refused:
            attempt()
        assert adapter.external["url"] in refused.value.hint
        assert "hubctl push" in refused.value.hint


def test_a_card_that_changed_is_brought_up_to_date(session, small, imported, operator):
    checkout = adapterhub_cards.read(small)
    at, card = next(
        (i, c)
        for i, c in enumerate(checkout.cards)
        if c.metric == "accuracy" and (c.variants[0].score or "").replace(".", "").isdigit()
    )
    object.__setattr__(card.variants[0], "score", "0.5")
    checkout.cards[at] = card
    done = importing.import_checkout(session, checkout, operator)
    assert (done.counts["updated"], done.counts["scores"]) == (1, 1)
    adapter = revisions.find_adapter(session, f"adapterhub/{card.name}", None)
    assert [score.value for score in scores.for_adapter(session, adapter)][:1] == [0.5]
    history = scores.for_adapter(session, adapter, history=True)
    assert [score.superseded_by is None for score in history].count(False) == 1


def test_only_an_operator_imports_and_no_name_is_taken_over(session, small, ana, operator):
    checkout = adapterhub_cards.read(small)
    with pytest.raises(NotAllowed, match="by an operator"):
        importing.import_checkout(session, checkout, ana)
    importing.import_checkout(session, checkout, operator)
    adapter = session.scalars(select(Adapter)).first()
    adapter.external = None
    session.flush()
    done = importing.import_checkout(session, checkout, operator)
    assert [kind for _, kind, _ in done.notes].count("left out") == 1
