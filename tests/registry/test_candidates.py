"""Candidates are the versions that a reference or a need means, as far as callers may see them."""

import pytest
from sqlalchemy import select

from registry import base_models
from registry.candidates import candidates_for
from registry.errors import (
    AdapterNotFound,
    BaseModelNotFound,
    InvalidRecipe,
    ResolutionImpossible,
    RevisionNotFound,
)
from registry.models import Version
from registry.resolve import resolve
from registry.schemas import BaseIdentity, Need, Recipe
from tests.registry.manifests import digest, signature
from tests.support import packages, shelf
from tests.support.shelf import BASE

STACK = {"Stack": ["lang", "task"]}


@pytest.fixture
def adapters(session, blobs):
    """Put versions of adapters into the registry: `adapters("lab/qu", "1.0.0", kind=...)`."""

    def put(name, *numbers, visibility="public", state="live", **changes):
        adapter = shelf.add_adapter(session, blobs, name, visibility=visibility)
        for number in numbers:
            # Every version has its own revision, as publishing makes them.
            shelf.add_revision(session, blobs, adapter, {"notes.txt": number.encode()})
            shelf.add_version(session, adapter, number, state=state, **changes)
        return adapter

    return put


def found(session, filling, *, viewer=None, base=None, slot="x"):
    wanted = Recipe(slots={slot: filling}, setup=slot, base=base or BaseIdentity(**BASE))
    candidates, _ = candidates_for(session, wanted, viewer)
    return candidates[slot]


def refs(session, filling, **more):
    return [candidate.ref for candidate in found(session, filling, **more)]


def set_state(session, number, state):
    session.scalars(select(Version).where(Version.number == number)).one().state = state
    session.flush()


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("acme/copa", ["2.0.0"]),
        ("acme/copa@1.1.0", ["1.1.0"]),
        ("acme/copa@v1.1.0", ["1.1.0"]),
        ("acme/copa@^1", ["1.0.0", "1.1.0"]),
        ("acme/copa@^1.1", ["1.1.0"]),
    ],
)
def test_a_reference_means_the_versions_it_selects(session, adapters, reference, expected):
    adapters("acme/copa", "1.0.0", "1.1.0", "2.0.0")
    assert refs(session, reference) == [f"acme/copa@{number}" for number in expected]


def test_without_a_selector_the_highest_live_version_is_meant(session, adapters):
    adapters("acme/copa", "1.0.0", "1.1.0", "2.0.0")
    set_state(session, "2.0.0", "yanked")
    set_state(session, "1.1.0", "deprecated")
    assert refs(session, "acme/copa") == ["acme/copa@1.0.0"]
    set_state(session, "1.0.0", "quarantined")
    assert refs(session, "acme/copa") == ["acme/copa@1.1.0"]


def test_a_reference_by_content_or_revision_means_that_very_thing(session, adapters):
    adapters("acme/copa", "1.0.0", "1.1.0")
    first = found(session, "acme/copa@1.0.0")[0]
    assert refs(session, f"acme/copa@{first.content}") == ["acme/copa@1.0.0"]
    assert refs(session, f"acme/copa@{first.revision}") == ["acme/copa@1.0.0"]


def test_a_revision_without_a_version_is_meant_by_its_id_only(session, blobs, adapters):
    adapter = adapters("acme/copa", "1.0.0")
    version = session.scalars(select(Version)).one()
    session.delete(version)
    session.flush()

    (candidate,) = found(session, f"acme/copa@{version.revision_id}")

    assert candidate.number is None
    assert candidate.ref == f"{adapter.name}@{version.revision_id}"
    assert candidate.kind == "task"
    with pytest.raises(RevisionNotFound):
        found(session, "acme/copa")


def test_a_reference_that_leads_nowhere_is_said_so(session, adapters):
    adapters("acme/copa", "1.0.0")
    with pytest.raises(AdapterNotFound, match="acme/capo"):
        found(session, "acme/capo")
    with pytest.raises(RevisionNotFound, match=r"'\^3'"):
        found(session, "acme/copa@^3")


def test_a_need_is_answered_by_kind_and_language(session, adapters):
    adapters("lab/qu", "1.0.0", "1.1.0", **shelf.language_pack("qu"))
    adapters("lab/sw", "1.0.0", **shelf.language_pack("sw"))
    adapters("lab/que", "1.0.0", **shelf.language_pack("quy"))
    adapters("lab/hant", "1.0.0", **shelf.language_pack("zh-Hant"))
    adapters("acme/copa", "1.0.0")
    assert refs(session, Need(language="qu")) == ["lab/qu@1.0.0", "lab/qu@1.1.0"]
    assert refs(session, Need(language="zh")) == ["lab/hant@1.0.0"]  # R5 refuses it in words


def test_a_need_for_a_task_looks_at_card_and_datasets(session, adapters):
    adapters("acme/ner", "1.0.0", card=shelf.fields(tasks=["Token-Classification"], tags=["ner"]))
    adapters("acme/copa", "1.0.0", datasets=[{"name": "super_glue", "config": "copa"}])
    adapters("lab/qu", "1.0.0", **shelf.language_pack("qu"))
    assert refs(session, Need(task="NER")) == ["acme/ner@1.0.0"]
    assert refs(session, Need(task="token-classification")) == ["acme/ner@1.0.0"]
    assert refs(session, Need(task="copa")) == ["acme/copa@1.0.0"]
    assert refs(session, Need(kind="task")) == ["acme/copa@1.0.0", "acme/ner@1.0.0"]


def test_private_adapters_of_others_do_not_exist(session, adapters, ana, ben):
    adapters("ana/qu", "1.0.0", visibility="private", **shelf.language_pack("qu"))
    assert refs(session, Need(language="qu"), viewer=ana) == ["ana/qu@1.0.0"]
    for stranger in (ben, None):
        assert refs(session, Need(language="qu"), viewer=stranger) == []
        with pytest.raises(AdapterNotFound):
            found(session, "ana/qu", viewer=stranger)


def test_versions_for_other_bases_are_shown_only_when_there_are_no_others(session, adapters):
    other = BASE | {"name": "bert-base", "structure": digest("bert")}
    adapters("lab/qu-bert", "1.0.0", **shelf.language_pack("qu", base=other))
    assert refs(session, Need(language="qu")) == ["lab/qu-bert@1.0.0"]
    adapters("lab/qu", "1.0.0", **shelf.language_pack("qu"))
    assert refs(session, Need(language="qu")) == ["lab/qu@1.0.0"]


def test_a_candidate_carries_what_the_rules_read(session, adapters):
    adapters(
        "acme/copa",
        "1.0.0",
        card=shelf.fields(licence="mit"),
        configuration={"architecture": "union", "configs": [{"prefix_length": 30}, {"r": 8}]},
        languages=["en"],
    )
    (candidate,) = found(session, "acme/copa")
    assert candidate.labels == ("neg", "pos")
    assert candidate.licence == "mit"
    assert candidate.positions == 30
    assert candidate.languages == ("en",)
    assert candidate.signature.slot == "task"
    assert candidate.requires["lang"].signature.invertible == "nice"
    assert candidate.trained_in.flatten() == ("lang", "task")
    assert set(candidate.files) == {"README.md", "notes.txt"}


# --- bases ---------------------------------------------------------------------------------------


def base_of(session, recipe):
    return candidates_for(session, recipe, None)[1]


def test_a_base_may_be_said_by_name_by_digest_or_by_the_digest_of_a_cast(session, adapters, ana):
    body = packages.registration(packages.bert(), "tiny-bert")
    body.config["max_position_embeddings"] = 32
    base_models.register(session, body, ana)
    known = body.identity
    halves = {each["digest"] for each in body.aliases if each["part"] == "body"}
    adapters("acme/copa", "1.0.0")

    cast = BaseIdentity(name="local", body=min(halves), embeddings=known.embeddings)
    for said in ("tiny-bert", f"tiny-bert@{known.revision}", known, cast):
        base = base_of(session, Recipe(slots={"task": "acme/copa"}, setup="task", base=said))
        assert base.identity == known
        assert base.bodies == {known.body, *halves}
        assert base.max_positions == 32


def test_a_base_that_is_not_registered_may_be_said_by_digest(session, adapters):
    adapters("acme/copa", "1.0.0")
    base = base_of(
        session, Recipe(slots={"task": "acme/copa"}, setup="task", base=BaseIdentity(**BASE))
    )
    assert base.identity == BaseIdentity(**BASE)
    with pytest.raises(BaseModelNotFound, match="no-such-base"):
        base_of(session, Recipe(slots={"task": "acme/copa"}, setup="task", base="no-such-base"))


def test_a_base_that_is_not_said_follows_from_the_adapters_named(session, adapters):
    adapters("acme/copa", "1.0.0")
    adapters("lab/qu", "1.0.0", **shelf.language_pack("qu"))
    slots = {"lang": Need(language="qu"), "task": "acme/copa"}
    assert base_of(session, Recipe(slots=slots, setup=STACK)).identity == BaseIdentity(**BASE)


def test_a_base_that_does_not_follow_must_be_said(session, adapters):
    other = BASE | {"name": "bert-base", "body": digest("bert")}
    adapters("acme/copa", "1.0.0")
    adapters("acme/other", "1.0.0", base=other)
    with pytest.raises(InvalidRecipe, match="several bases, say which: acme/copa"):
        base_of(
            session,
            Recipe(slots={"a": "acme/copa", "b": "acme/other"}, setup={"Parallel": ["a", "b"]}),
        )
    with pytest.raises(InvalidRecipe, match="says no base"):
        base_of(session, Recipe(slots={"lang": Need(language="qu")}, setup="lang"))
    with pytest.raises(InvalidRecipe, match="neither a name nor the digest"):
        found(session, "acme/copa", base=BaseIdentity(structure=digest("structure")))


# --- end to end ----------------------------------------------------------------------------------


def partner(**changes):
    return {
        "lang": {"signature": signature(slot="lang", invertible="nice", language="en", **changes)}
    }


def test_a_recipe_resolves_over_the_database(session, adapters):
    adapters("lab/qu", "1.0.0", "1.0.1", **shelf.language_pack("qu"))
    adapters("lab/qu-lora", "1.0.0", **shelf.language_pack(
        "qu", signature=signature(slot="lang", method="lora", language="qu")))  # fmt: skip
    adapters("acme/copa", "1.0.0", requires=partner())
    recipe = Recipe(slots={"lang": Need(language="qu"), "task": "acme/copa@^1"}, setup=STACK)

    resolution = resolve(recipe, *candidates_for(session, recipe, None))

    assert {slot: part["ref"] for slot, part in resolution.lock["slots"].items()} == {
        "lang": "lab/qu@1.0.1",
        "task": "acme/copa@1.0.0",
    }
    assert "its method is lora" in resolution.why["lang"]["rejected"]["lab/qu-lora@1.0.0"][0]


def test_a_need_that_says_next_to_nothing_is_refused(session, adapters, monkeypatch):
    monkeypatch.setattr("registry.candidates.MOST", 1)
    adapters("lab/qu", "1.0.0", "1.0.1", **shelf.language_pack("qu"))
    with pytest.raises(ResolutionImpossible, match="more than 1 versions answer the slot 'x'"):
        found(session, Need(language="qu"))
