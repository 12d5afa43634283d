"""The matrix says of every cell what the resolver says of it, asked one by one."""

import random
import time

import pytest
from sqlalchemy import event

from registry import matrix, recipes, resolve, revisions, scores, vocabulary
from registry.candidates import candidates_for, of_base
from registry.errors import BaseModelNotFound, RegistryError, ResolutionImpossible
from registry.models import BaseModel
from registry.schemas import Recipe, ScoreIn
from tests.registry.manifests import digest, signature
from tests.support import shelf

BASE = shelf.BASE["name"]
TAGS = ("qu", "sw", "zh", "zh-Hant", "de", "de-CH")


@pytest.fixture
def base(session, ana):
    session.add(
        BaseModel(
            **{key: shelf.BASE[key] for key in shelf.BASE},
            model_type="xlm-roberta",
            config={},
            tensors={},
            registered_by_id=ana.id,
        )
    )
    session.flush()


def pack(tag, **changes):
    own = {"slot": "lang", "language": tag, "invertible": "nice", "rows": False}
    return shelf.language_pack(tag, signature=signature(**(own | changes)))


def needing(**changes):
    wanted = {"slot": "lang", "language": "en", "invertible": "nice"} | changes
    return {"requires": {"lang": {"signature": signature(**wanted)}}}


def publish(session, blobs, name, visibility="public", state="live", **fields):
    adapter = shelf.add_adapter(session, blobs, name, visibility=visibility)
    return shelf.add_version(session, adapter, state=state, **fields)


# --- by hand -------------------------------------------------------------------------------------


@pytest.fixture
def small(session, blobs, base):
    publish(session, blobs, "lab/qu", **pack("qu"))
    publish(session, blobs, "lab/sw", **pack("sw"))
    publish(session, blobs, "other/sw", **pack("sw"))
    publish(session, blobs, "lab/de", **pack("de", invertible="glow"))
    publish(session, blobs, "acme/copa", **needing())
    publish(session, blobs, "acme/alone", requires={}, setup=None)


def states(found):
    return {row.ref: {cell.language: cell.state for cell in row.cells} for row in found.rows}


def test_each_state_is_told_apart_with_its_reason(session, small):
    found = matrix.matrix(session, BASE, None)
    assert found.languages == ["de", "qu", "sw"]
    assert states(found) == {
        "acme/alone@1.0.0": {"de": "near", "qu": "near", "sw": "near"},
        "acme/copa@1.0.0": {"de": "missing", "qu": "resolvable", "sw": "ambiguous"},
    }
    missing, works, several = found.rows[1].cells
    assert "invertible" in missing.reasons[0]
    assert works.pack == "lab/qu@1.0.0"
    assert several.choices == ["lab/sw@1.0.0", "other/sw@1.0.0"]
    assert "was trained without an adapter" in found.rows[0].cells[0].reasons[0]


def test_it_is_narrowed_down(session, small):
    found = matrix.matrix(session, BASE, None, languages=["eu", "qu"], tasks=["acme/copa"])
    assert states(found) == {"acme/copa@1.0.0": {"eu": "missing", "qu": "resolvable"}}
    assert found.rows[0].cells[0].reasons == [
        "no language adapter for it was published for this base"
    ]
    with pytest.raises(BaseModelNotFound):
        matrix.matrix(session, "nothing", None)


def test_a_cell_shows_what_was_measured_of_its_very_set_up(session, blobs, small, ana, ben):
    recipe = Recipe(
        base=BASE, slots={"lang": "lab/qu", "task": "acme/copa"}, setup={"Stack": ["lang", "task"]},
        head=None,
    )  # fmt: skip
    resolution = resolve.resolve(recipe, *candidates_for(session, recipe, None))
    what = {"dataset": "xcopa", "config": "qu", "language": "qu", "n": 500}
    common = {"subject": resolution.digest, "conditions": {"zero_shot": True}, **what}
    scores.record(session, ScoreIn(lock=resolution.lock, metric="loss", value=0.9, **common), ana)
    taken = scores.record(session, ScoreIn(metric="acc", value=0.9, **common), ben)
    scores.record(session, ScoreIn(metric="acc", value=0.6, **common), ana)
    scores.retract(session, taken, ben, "no")

    measured = {
        (row.ref, cell.language): [
            (s.metric, s.value, s.higher_is_better, s.n) for s in cell.scores
        ]
        for row in matrix.matrix(session, BASE, None).rows
        for cell in row.cells
        if cell.scores
    }

    assert measured == {
        ("acme/copa@1.0.0", "qu"): [("accuracy", 0.6, True, 500), ("loss", 0.9, False, 500)]
    }
    # A newer language adapter makes another set-up, of which nothing was measured.
    shelf.add_revision(session, blobs, adapter_of(session, "lab/qu"), {"note.txt": b"2"})
    shelf.add_version(session, adapter_of(session, "lab/qu"), "1.1.0", **pack("qu"))
    assert not any(
        cell.scores for row in matrix.matrix(session, BASE, None).rows for cell in row.cells
    )


def adapter_of(session, name):
    return revisions.find_adapter(session, name, None)


# --- against the resolver, cell by cell ----------------------------------------------------------


def fill(session, blobs, chance):
    """Publish tasks and packs of every sort that the rules tell apart."""
    for number in range(8):
        tag = chance.choice(TAGS)
        publish(
            session, blobs, f"lab/p{number}",
            visibility=chance.choice(("public", "public", "private")),
            state=chance.choice(("live", "live", "live", "deprecated", "yanked")),
            **pack(
                tag,
                invertible=chance.choice(("nice", "nice", "glow", None)),
                series=chance.choice((None, "wiki")),
                layers=chance.choice(([0, 1, 2, 3], [0, 1, 2])),
                method=chance.choice(("seq_bn", "seq_bn", None)),
            ),
            **chance.choice(({}, {}, {}, {"base": shelf.BASE | {"body": digest("other")}})),
        )  # fmt: skip
    contents = [each.content for each in of_base(session, BASE, None)[1]] or [digest("none")]
    for number in range(6):
        wanted = needing(
            invertible=chance.choice(("nice", "nice", "glow")), series=chance.choice((None, "wiki"))
        )["requires"]
        wanted["lang"]["content"] = chance.choice((None, None, chance.choice(contents)))
        wanted["lang"]["drop_layers"] = chance.choice(([], [3]))
        head = {"embed": {"signature": signature(slot="embed"), "ref": "lab/none@1.0.0"}}
        requires = chance.choice((wanted, wanted, wanted, {}, None, wanted | head))
        publish(
            session, blobs, f"acme/t{number}", requires=requires,
            visibility=chance.choice(("public", "public", "private")),
            state=chance.choice(("live", "live", "deprecated", "quarantined")),
        )  # fmt: skip


def asked_one_by_one(session, task, language, viewer):
    """Return (state, pack or choices) as the resolver alone gives it."""
    recipe, lang = recipes.of_candidate(task, language)
    recipe = recipe.model_copy(update={"base": BASE})
    try:
        resolution = resolve.resolve(recipe, *candidates_for(session, recipe, viewer))
    except ResolutionImpossible as error:
        if error.choices:
            return "ambiguous", sorted(ref for refs in error.choices.values() for ref in refs)
    except RegistryError:
        return "missing", None
    else:
        return "resolvable", resolution.lock["slots"][lang]["ref"]
    return (
        "near" if _a_named_one_fits(session, recipe, lang, language, viewer) else "missing"
    ), None


def _a_named_one_fits(session, recipe, lang, language, viewer):
    """A near match is what resolves as soon as a person names it."""
    for pack in of_base(session, BASE, viewer)[1]:
        if pack.kind != "language" or not matrix._speaks(pack, language):
            continue
        named = recipe.model_copy(update={"slots": recipe.slots | {lang: pack.ref}})
        try:
            resolve.resolve(named, *candidates_for(session, named, viewer))
        except RegistryError:
            continue
        return True
    return False


SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 40))]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_cell_is_what_the_resolver_says(session, blobs, base, ana, seed):
    chance = random.Random(seed)
    fill(session, blobs, chance)
    for viewer in (None, shelf.owner(session, "lab")):
        known = {each.ref: each for each in of_base(session, BASE, viewer)[1]}
        found = matrix.matrix(session, BASE, viewer)
        spoken = {
            tag for each in known.values() if each.kind == "language" for tag in each.languages
        }
        assert found.languages == sorted(spoken)
        live = {ref for ref, each in known.items() if each.state in ("live", "deprecated")}
        assert {row.ref for row in found.rows} == {r for r in live if known[r].kind == "task"}
        for row in found.rows:
            for cell in row.cells:
                expected = asked_one_by_one(session, known[row.ref], cell.language, viewer)
                chosen = cell.pack if cell.state == "resolvable" else sorted(cell.choices) or None
                assert (cell.state, chosen) == expected, (row.ref, cell)
                assert bool(cell.reasons) == (cell.state != "resolvable")


def test_fifty_tasks_by_fifty_languages_take_few_statements(
    session, blobs, base, record_testsuite_property
):
    counts = []
    for start, stop in ((0, 10), (10, 50)):
        for tag in list(vocabulary.LANGUAGES)[start:stop]:
            publish(session, blobs, f"lab/{tag}", **pack(tag))
        for number in range(start, stop):
            publish(session, blobs, f"acme/t{number:02}", **needing())
        session.commit()
        counts.append(_statements(session, stop))
    small, large = counts
    # Some are asked in portions of many rows each; none is asked for a cell.
    assert large <= small + 5
    best = min(_seconds(session) for _ in range(3))
    record_testsuite_property("matrix 50 x 50", f"{best * 1000:.0f} ms CPU")


def _statements(session, size):
    """Return how many statements a matrix of so many rows and columns takes."""
    said = []
    engine = session.get_bind()

    def count(*_):
        said.append(1)

    event.listen(engine, "before_cursor_execute", count)
    try:
        found = matrix.matrix(session, BASE, None)
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert {cell.state for row in found.rows for cell in row.cells} == {"resolvable"}
    assert len(found.rows) == len(found.languages) == size
    return len(said)


def _seconds(session):
    before = time.process_time()
    matrix.matrix(session, BASE, None)
    return time.process_time() - before
