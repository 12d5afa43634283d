"""Adapters and versions as they are shown, and what a manifest says in sentences."""

import pytest

from registry import catalogue, prose, scores
from registry.errors import InvalidName, RevisionNotFound, VersionWithheld
from registry.schemas import ScoreIn, Signature
from tests.registry.manifests import digest, head, manifest, signature
from tests.support import shelf


@pytest.fixture
def adapter(session, blobs):
    """An adapter with versions in every state, each of its own revision."""
    adapter = shelf.add_adapter(session, blobs, "acme/x", card="# X\n")
    states = {
        "1.0.0": "deprecated",
        "1.2.0": "live",
        "1.10.0": "live",
        "2.0.0": "yanked",
        "3.0.0": "quarantined",
    }
    for number, state in states.items():
        shelf.add_revision(session, blobs, adapter, {"note.txt": number.encode()})
        shelf.add_version(session, adapter, number, state=state)
    return adapter


# --- the catalogue --------------------------------------------------------------------------------


def test_every_version_is_listed_the_highest_number_first(session, adapter):
    shown = catalogue.adapter_out(session, adapter, None, base_url="https://hub.test")
    assert [version.number for version in shown.versions] == [
        *("3.0.0", "2.0.0", "1.10.0", "1.2.0", "1.0.0")
    ]
    assert shown.latest.number == "1.10.0"
    assert shown.latest.ref == "acme/x@1.10.0"
    assert shown.latest.url == "https://hub.test/acme/x/versions/1.10.0"
    assert shown.latest.published_by == "acme"
    assert shown.latest.size == len("# X\n") + len("1.10.0")


@pytest.mark.parametrize(
    ("selector", "number"),
    [
        ("latest", "1.10.0"),
        ("^1", "1.10.0"),
        ("^1.2", "1.10.0"),
        ("1.2.0", "1.2.0"),
        ("v1.2.0", "1.2.0"),
        ("1.0.0", "1.0.0"),
        ("2.0.0", "2.0.0"),
        (digest(("content", "acme/x", "1.2.0")), "1.2.0"),
    ],
)
def test_a_selector_finds_one_version(session, adapter, selector, number):
    assert catalogue.find_version(session, adapter, selector).number == number


def test_a_revision_finds_its_version(session, adapter):
    version = catalogue.find_version(session, adapter, "1.2.0")
    assert catalogue.find_version(session, adapter, version.revision_id) is version


def test_what_was_withdrawn_is_said_to_be(session, adapter):
    with pytest.raises(VersionWithheld, match=r"version 3\.0\.0 of acme/x was quarantined"):
        catalogue.find_version(session, adapter, "3.0.0")


@pytest.mark.parametrize("selector", ["^2", "^3", "4.0.0", "0" * 40, "sha256:" + "0" * 64])
def test_what_never_was_or_does_not_resolve_is_not_found(session, adapter, selector):
    with pytest.raises(RevisionNotFound, match="acme/x has no revision"):
        catalogue.find_version(session, adapter, selector)


def test_a_selector_that_cannot_be_read_is_an_error_of_its_own(session, adapter):
    with pytest.raises(InvalidName, match="selects no version"):
        catalogue.find_version(session, adapter, "newest")


def test_without_a_live_version_the_deprecated_one_is_the_latest(session, blobs):
    adapter = shelf.add_adapter(session, blobs, "acme/old")
    shelf.add_version(session, adapter, "1.0.0", state="deprecated", successor="acme/new@1.0.0")
    assert catalogue.find_version(session, adapter, "latest").number == "1.0.0"
    assert catalogue.adapter_out(session, adapter, None).latest.successor == "acme/new@1.0.0"


def test_a_version_comes_with_its_manifest_and_files(session, adapter):
    detail = catalogue.version_detail(session, adapter, "^1")
    assert detail.manifest["schema"] == "hub.manifest/1"
    assert [(file.path, file.size) for file in detail.files] == [("README.md", 4), ("note.txt", 6)]
    assert catalogue.manifest_of(
        session, session.get_one(catalogue.Revision, (adapter.id, detail.revision))
    ).signature == Signature.model_validate(signature())


def test_scores_of_the_contents_are_shown(session, adapter):
    subject = catalogue.find_version(session, adapter, "1.2.0").content
    body = ScoreIn(subject=subject, dataset="d", metric="accuracy", value=0.5)
    scores.record(session, body, adapter.owner)
    [score] = catalogue.adapter_out(session, adapter, None).scores
    assert (score.value, score.reported_by) == (0.5, "acme")


def test_totals_count_what_the_viewer_may_see(session, blobs, adapter, ana):
    private = shelf.add_adapter(session, blobs, "ana/private", visibility="private", downloads=7)
    shelf.add_version(session, private, **shelf.language_pack("qu"))
    assert catalogue.totals(session, None) == catalogue.Totals(1, 2, 0, 0)
    assert catalogue.totals(session, ana) == catalogue.Totals(2, 3, 1, 7)


# --- in words -------------------------------------------------------------------------------------


def requirement(**changes):
    return {"signature": signature(slot="lang", invertible="nice", language="en")} | changes


def test_a_language_adapter_says_what_it_offers():
    pack = manifest(
        **shelf.language_pack(
            "sw",
            signature=signature(
                slot="lang", language="sw", invertible="nice", rows=True, series="wiki-r2"
            ),
        )
    )
    assert prose.contract(pack).offers == (
        (
            "Language adapter for Swahili: seq_bn in layers 0-3, at the output, with a NICE "
            "invertible part, with its own rows of the token embedding."
        ),
        "It fills the slot “lang” of a set-up.",
        (
            "It belongs to the series “wiki-r2”: partners of the same series are preferred, for "
            "they were trained alike."
        ),
    )
    assert prose.contract(pack).requires == ("Nothing: it was trained directly on the base model.",)


def test_a_stacked_task_adapter_says_what_its_partner_must_offer():
    stacked = manifest(
        requires={"lang": requirement(drop_layers=[3], ref="lab/en@1.0.0")},
        head=head(type="tagging", labels=["O", "B-PER"]),
    )
    found = prose.contract(stacked)
    assert found.requires == (
        (
            "Trained on top of a language adapter: seq_bn in layers 0-3, at the output, with a "
            "NICE invertible part."
        ),
        (
            "Any adapter of that shape for the same base can stand in its place, whatever its "
            "language."
        ),
        "What it has in layer 3 is left out when it is loaded.",
        "The partner in training was lab/en@1.0.0 (English).",
        "The set-up in training was Stack(lang, task).",
    )
    assert found.offers[-1] == "It comes with a tagging head for 2 labels: O, B-PER."


def test_what_is_unknown_is_said_to_be_unknown():
    [sentence] = prose.contract(manifest(requires=None, setup=None)).requires
    assert "near match, never as certain" in sentence
    union = Signature(method="par_bn|prefix_tuning", layers=(0,), points=("output", "self_prefix"))
    assert prose.shape(union) == (
        "par_bn + prefix_tuning in layer 0, at the output and self prefix"
    )
    assert prose.shape(Signature()) == "an adapter whose method is not stated"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([3], "layer 3"),
        ([0, 1, 2], "layers 0-2"),
        ([0, 1, 5], "layers 0-1 and 5"),
        ([9, 1, 3, 2], "layers 1-3 and 9"),
        ([0, 2, 4], "layers 0, 2 and 4"),
    ],
)
def test_layers_are_named_by_runs(numbers, text):
    assert prose.layers(numbers) == text


def test_many_labels_are_cut():
    labels = [f"l{number}" for number in range(100)]
    offers = prose.contract(manifest(head=head(labels=labels, outputs=100))).offers
    assert offers[-1].endswith("for 100 labels: l0, l1, l2, l3, l4, l5, l6, l7 and 92 more.")


def test_a_head_without_labels_says_how_many_outputs_it_has():
    offers = prose.contract(manifest(head=head(labels=None, outputs=3))).offers
    assert offers[-1] == "It comes with a classification head with 3 outputs."


def test_a_base_known_by_name_only_is_said_to_be_so():
    named = manifest(base={"name": "bert-base"})
    assert "known by name only" in prose.base_in_words(named)
    assert [part.digest for part in prose.base_parts(named.base)] == [None] * 4
    assert "identified by its weights" in prose.base_in_words(manifest())


def test_commands_fit_the_adapter():
    task = [each.text for each in prose.commands("a/ner", "2.1.0", manifest(), "https://hub.test")]
    assert task[0] == "hubctl pull a/ner@2.1.0"
    assert 'model.load_adapter("./ner", set_active=True)' in task[1]
    assert task[2] == "hubctl pull --task a/ner@^2 --language qu --to ./setup"
    assert task[3] == "HF_ENDPOINT=https://hub.test hf download a/ner --revision v2.1.0"

    pack = manifest(**shelf.language_pack("sw"))
    texts = [each.text for each in prose.commands("a/sw", "1.0.0", pack, "https://hub.test")]
    assert "hubctl swap ./setup --language sw" in texts

    peft = manifest(layout="peft", requires=None)
    found = prose.commands("a/lora", "1.0.0", peft, "https://hub.test")
    assert [each.title for each in found] == ["Get it", "Load it with PEFT"]
    compile(found[-1].text, "command", "exec")

    for layout in ("adapterhub", "peft"):
        pair = manifest(layout=layout, model_type="encoder-decoder", requires=None)
        python = prose.commands("a/pair", "1.0.0", pair, "https://hub.test")[1].text
        assert "from transformers import EncoderDecoderModel" in python
        compile(python, "command", "exec")
