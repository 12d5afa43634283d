"""Counting facets in arrays gives what counting rows one by one gives, whatever happened before."""

import random
from collections import Counter

import numpy as np
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from registry import accounts, db, facet_counts, revisions, search, search_index
from registry.facet_cube import FacetCube, cube_of
from registry.models import Adapter, SearchDocument
from registry.search_query import SearchQuery

VALUES = {"kind": ["task", "language"], "language": ["qu", "sw", "de"], "method": ["lora", "ia3"]}


def describe(session, adapter, facets):
    tokens = [search_index.token(facet, v) for facet, values in facets.items() for v in values]
    session.execute(
        update(SearchDocument)
        .where(SearchDocument.adapter_id == adapter.id)
        .values(facets=facets, facet_tokens=" ".join(tokens), card="common")
    )


def random_facets(dice):
    return {
        facet: dice.sample(values, dice.randint(1, len(values)))
        for facet, values in VALUES.items()
        if dice.random() < 0.9
    }


def change(session, dice, owners):
    """Do to the shelf what publishing, editing, hiding and counting downloads do."""
    shelf = session.scalars(select(Adapter)).all()
    if len(shelf) < 3 or dice.random() < 0.3:
        owner = dice.choice(owners)
        name = f"{owner.name}/a{len(shelf)}"
        visibility = dice.choice(["public", "private"])
        adapter = revisions.create_adapter(session, owner, name, visibility)
        session.flush()
    else:
        adapter = dice.choice(shelf)
        adapter.visibility = dice.choice(["public", "private"])
        adapter.downloads += dice.choice([0, 0, 1, 10, 1_000])
        session.flush()
    if dice.random() < 0.8:
        describe(session, adapter, random_facets(dice))


def by_hand(session, query, viewer):
    """Count rows one by one, in Python."""
    rows = session.execute(
        select(SearchDocument.facets).join(Adapter).where(accounts.visible_to(viewer))
    ).scalars()
    rows = list(rows)

    def matching(without=None):
        chosen = {facet: set(v) for facet, v in query.facets.items() if facet != without}
        return [
            row for row in rows if all(set(row.get(facet, ())) & v for facet, v in chosen.items())
        ]

    facets = {
        facet: dict(Counter(value for row in matching(facet) for value in row.get(facet, ())))
        for facet in VALUES
    }
    return len(matching()), facets


def agree(session, viewers, query):
    for viewer in viewers:
        counted = facet_counts.count(session, query, viewer)
        total, facets = by_hand(session, query, viewer)
        assert counted.exact
        assert counted.total == total
        assert {facet: counted.facets[facet] for facet in VALUES} == facets


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_rows_after_any_changes(engine, seed):
    dice = random.Random(seed)
    with db.sessions(engine).begin() as session:
        owners = [accounts.create_user(session, name) for name in ("ana", "ben")]
    for _ in range(25):
        with db.sessions(engine).begin() as session:
            owners = [session.merge(owner) for owner in owners]
            for _ in range(dice.randint(0, 3)):
                change(session, dice, owners)
        query = SearchQuery(facets=dice.choice([{}, {"language": ["qu"]}, {"kind": ["task"]}]))
        with db.reading_sessions(engine)() as session:
            agree(session, [None, *owners], query)
            agree(
                session, [None, *owners], SearchQuery(text="", facets={"method": VALUES["method"]})
            )


@pytest.fixture
def six(engine):
    """Four adapters in Quechua and two in Swahili, all with the word `common`."""
    with db.sessions(engine).begin() as session:
        ana = accounts.create_user(session, "ana")
        for number in range(6):
            adapter = revisions.create_adapter(session, ana, f"ana/a{number}")
            session.flush()
            describe(session, adapter, {"language": ["qu" if number < 4 else "sw"]})


@pytest.mark.usefixtures("six")
def test_words_and_facets_are_counted_together(engine):
    with db.reading_sessions(engine)() as session:
        counted = facet_counts.count(session, SearchQuery("common", {"language": ["sw"]}), None)
    assert (counted.total, counted.facets["language"]) == (2, {"qu": 4, "sw": 2})


@pytest.mark.usefixtures("six")
def test_a_common_word_is_counted_as_far_as_said(engine, monkeypatch):
    monkeypatch.setattr(facet_counts, "COUNTED", 4)
    with db.reading_sessions(engine)() as session:
        counted = facet_counts.count(session, SearchQuery("common"), None)
        narrowed = facet_counts.count(session, SearchQuery("common", {"language": ["sw"]}), None)
    assert (counted.total, counted.exact) == (4, False)
    # What the words and the facets leave is few enough to know.
    assert (narrowed.total, narrowed.exact) == (2, True)


def test_what_is_committed_late_is_not_missed(engine):
    """On PostgreSQL a transaction may be committed after one that began later and was read."""
    with db.sessions(engine).begin() as session:
        ana = accounts.create_user(session, "ana")
        first = revisions.create_adapter(session, ana, "ana/first")
        other = revisions.create_adapter(session, ana, "ana/other")
    cube = FacetCube()

    def counts():
        with db.reading_sessions(engine)() as session:
            cube.refresh(session)
            return cube.counts(cube.visible(None))

    counts()
    if engine.dialect.name == "sqlite":
        return  # a second writer waits for the first there
    with Session(engine) as early, Session(engine) as late:
        describe(early, first, {"language": ["qu"]})
        describe(late, other, {"language": ["sw"]})
        late.commit()
        assert counts() == {search_index.token("language", "sw"): 1}
        early.commit()
    assert counts() == {search_index.token("language", v): 1 for v in ("qu", "sw")}


def test_a_writer_counts_what_only_it_sees_and_leaves_no_trace(engine):
    with db.sessions(engine).begin() as session:
        ana = accounts.create_user(session, "ana")
    with Session(engine) as session:
        ana = session.merge(ana)
        revisions.create_adapter(session, ana, "ana/gone")
        assert search.search(session, SearchQuery(), None).total == 1
        session.rollback()
    with db.reading_sessions(engine)() as session:
        assert search.search(session, SearchQuery(), None).total == 0


def test_the_cube_is_shared_and_does_not_grow_with_changes(engine):
    with db.sessions(engine).begin() as session:
        ana = accounts.create_user(session, "ana")
        adapter = revisions.create_adapter(session, ana, "ana/a")
    for number in range(200):
        with db.sessions(engine).begin() as session:
            describe(session, adapter, {"language": [("qu", "sw")[number % 2]]})
        with db.reading_sessions(engine)() as session:
            cube = cube_of(session)
            assert cube is cube_of(session)
    assert cube.counts(np.ones(adapter.id + 1, bool)) == {search_index.token("language", "sw"): 1}
    assert len(cube._code) < 20


def test_an_empty_database_is_counted(engine):
    with db.reading_sessions(engine)() as session:
        assert session.execute(text("select count(*) from adapters")).scalar() == 0
        assert facet_counts.count(session, SearchQuery(facets={"kind": ["task"]}), None).total == 0
