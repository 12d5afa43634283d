import json
import random

import pytest

from adapters_runtime.configs import load_config
from registry.errors import InvalidPackage
from registry.manifest import build_manifest, claimed_base
from registry.packages import Package
from registry.schemas import BaseIdentity, ManifestDocument
from tests.support.mutations import ON_TENSORS, SPOILERS, good, good_of_kind, scribble
from tests.support.other_packages import KINDS
from tests.support.packages import HEAD, bert, gpt2, make_folder, noise, registration, sha

BASE = bert()
IDENTITY = registration(BASE).identity.model_dump()


def build(folder, tmp_path, base=BASE, **options):
    return build_manifest(Package.from_folder(folder.write(tmp_path / "package")), base, **options)


def refused(folder, tmp_path, base=BASE):
    with pytest.raises(InvalidPackage) as refusal:
        build(folder, tmp_path, base)
    return "\n".join(refusal.value.problems)


def content(folder, tmp_path, base=BASE):
    return build(folder, tmp_path / random.Random().randbytes(8).hex(), base).content


# --- what is accepted ----------------------------------------------------------------------------


def test_a_saved_adapter_becomes_a_document(tmp_path):
    folder = make_folder(BASE, identity=IDENTITY, head=HEAD, hub={"languages": ["EN", "de"]})
    manifest = build(folder, tmp_path)
    document = manifest.document
    assert manifest.warnings == ()
    assert (document.kind, document.method, document.model_type) == ("task", "seq_bn", "bert")
    assert document.base == BaseIdentity.model_validate(IDENTITY)
    assert document.signature.layers == (0, 1, 2)
    assert document.requires == {}
    assert document.head.labels == ("neg", "pos")
    assert document.head.outputs == 2
    assert document.languages == ("en", "de")
    assert document.card.model_dump() == {
        "title": "",
        "summary": "",
        "licence": "mit",
        "tasks": ("ner",),
        "tags": ("a", "b"),
    }
    assert set(document.files) == set(folder.contents())
    assert document.configuration["non_linearity"] == "relu"
    assert document.configuration["reduction_factor"] == 2
    assert "encoder.layer.0.output.adapters.*.adapter_up.bias" in {
        name.removeprefix("bert.") for name in document.tensors["adapter.safetensors"]
    }


def test_the_document_is_json_that_reads_back(tmp_path):
    manifest = build(make_folder(BASE, identity=IDENTITY, head=HEAD), tmp_path)
    text = json.dumps(manifest.json())
    assert ManifestDocument.model_validate(json.loads(text)) == manifest.document


def accept(seed, tmp_path):
    base, folder = good(random.Random(seed))
    build(folder, tmp_path, base)


@pytest.mark.parametrize("seed", range(25))
def test_good_adapters_of_every_kind_are_accepted(seed, tmp_path):
    accept(seed, tmp_path)


@pytest.mark.long
def test_200_good_adapters_are_accepted(tmp_path):
    for seed in range(200):
        accept(seed, tmp_path / str(seed))


def accept_kind(kind, seed, tmp_path):
    base, folder = good_of_kind(kind, random.Random(f"{kind} {seed}"))
    document = build(folder, tmp_path, base).document
    assert document.kind == (None if kind == "peft" else kind)
    assert document.tensors


@pytest.mark.parametrize("kind", KINDS)
def test_good_folders_of_other_kinds_are_accepted(kind, tmp_path):
    for seed in range(6):
        accept_kind(kind, seed, tmp_path / str(seed))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_40_good_folders_of_each_other_kind_are_accepted(kind, tmp_path):
    for seed in range(40):
        accept_kind(kind, seed, tmp_path / str(seed))


# --- what is refused -----------------------------------------------------------------------------


def refuse(spoiler, seed, tmp_path):
    rng = random.Random(f"{spoiler} {seed}")
    base, folder = good(rng)
    words = SPOILERS[spoiler](folder, rng)
    problems = refused(folder, tmp_path, base)
    assert any(word in problems for word in words), (words, problems)


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_spoilt_adapter_is_refused_with_what_is_wrong(spoiler, tmp_path):
    for seed in range(4):
        refuse(spoiler, seed, tmp_path / str(seed))


@pytest.mark.long
@pytest.mark.parametrize("spoiler", SPOILERS)
def test_40_adapters_spoilt_in_each_way_are_refused(spoiler, tmp_path):
    for seed in range(40):
        refuse(spoiler, seed, tmp_path / str(seed))


def refuse_kind(kind, spoiler, seed, tmp_path):
    rng = random.Random(f"{kind} {spoiler} {seed}")
    base, folder = good_of_kind(kind, rng)
    words = SPOILERS[spoiler](folder, rng)
    problems = refused(folder, tmp_path, base)
    assert any(word in problems for word in words), (words, problems)


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_folders_of_other_kinds_are_refused_too(kind, tmp_path):
    for spoiler in ON_TENSORS:
        refuse_kind(kind, spoiler, 0, tmp_path / spoiler)


@pytest.mark.long
@pytest.mark.parametrize("spoiler", ON_TENSORS)
@pytest.mark.parametrize("kind", KINDS)
def test_20_folders_of_other_kinds_spoilt_in_each_way_are_refused(kind, spoiler, tmp_path):
    for seed in range(20):
        refuse_kind(kind, spoiler, seed, tmp_path / str(seed))


def survive(seed, tmp_path):
    """Neither a crash nor an error of another kind: both would be an answer of 500."""
    rng = random.Random(seed)
    base, folder = good(rng)
    scribble(folder, rng)
    try:
        build(folder, tmp_path, base)
    except InvalidPackage as refusal:
        return bool(refusal.problems)
    return True


def test_whatever_a_document_holds_it_is_read_or_refused(tmp_path):
    assert all(survive(seed, tmp_path / str(seed)) for seed in range(100))


@pytest.mark.long
def test_whatever_3000_documents_hold_they_are_read_or_refused(tmp_path):
    assert all(survive(seed, tmp_path / str(seed)) for seed in range(3000))


def test_every_problem_is_listed_at_once(tmp_path):
    folder = make_folder(BASE, identity=IDENTITY, head=HEAD)
    first, second = sorted(folder.tensors)[:2]
    del folder.tensors[first]
    folder.tensors[second] = noise((7, 7), "F32", 1)
    folder.documents["hub_adapter.json"]["signature"]["layers"] = [0]
    folder.documents["head_config.json"]["config"] = HEAD | {"num_labels": 5}
    problems = refused(folder, tmp_path)
    for words in (first, second, "signature.layers", "heads.mine.1.weight"):
        assert words in problems


@pytest.mark.parametrize("name", ["pytorch_adapter.bin", "weights.pt", "x.pkl"])
def test_a_pickle_is_refused_with_the_remedy(name, tmp_path):
    folder = make_folder(BASE)
    folder.files[name] = b"\x80\x02"
    problems = refused(folder, tmp_path)
    assert f"{name}: is a pickle" in problems
    assert "use_safetensors=True" in problems
    assert "hubctl convert" in problems


def test_what_is_no_adapter_folder_is_refused_by_name(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InvalidPackage, match=r"adapter_config\.json: is missing"):
        build_manifest(Package.from_folder(tmp_path), None)


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(InvalidPackage, match="is not a folder"):
        Package.from_folder(tmp_path / "none")
    with pytest.raises(InvalidPackage, match="is empty"):
        Package.from_folder(tmp_path)


@pytest.mark.parametrize(
    "file", ["adapter.safetensors", "head_config.json", "model_head.safetensors"]
)
def test_a_missing_file_is_named(file, tmp_path):
    folder = make_folder(BASE, head=HEAD)
    contents = folder.contents()
    del contents[file]
    folder.tensors, folder.head, folder.documents, folder.files = {}, {}, {}, contents
    assert f"{file}: is missing" in refused(folder, tmp_path)


def test_an_adapter_of_another_architecture_is_refused(tmp_path):
    problems = refused(make_folder(gpt2()), tmp_path)
    assert "model_type is 'gpt2', that of the base 'bert'" in problems
    assert "none of its" in problems


def test_too_many_files_are_refused(tmp_path):
    folder = make_folder(BASE)
    folder.files |= {f"notes-{i}.txt": b"" for i in range(80)}
    assert "a version may have 64" in refused(folder, tmp_path)


@pytest.mark.parametrize("file", ["adapter_config.json", "head_config.json", "hub_adapter.json"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b"[]", "no JSON object"),
        (b"{", "line 1"),
        (b'{"a": NaN}', "NaN"),
        (b" " * (5 << 20), "at most"),
    ],
)
def test_json_that_is_not_strict_is_refused_naming_the_file(file, data, reason, tmp_path):
    folder = make_folder(BASE, identity=IDENTITY, head=HEAD)
    folder.files[file] = data
    problems = refused(folder, tmp_path)
    assert f"{file}: " in problems
    assert reason in problems


def test_a_head_of_a_million_layers_costs_no_time(tmp_path):
    folder = make_folder(BASE, head=HEAD)
    folder.documents["head_config.json"]["config"] = HEAD | {"layers": 10**9}
    assert "head_config.json: config: a head has at most" in refused(folder, tmp_path)


def test_a_union_of_everything_is_refused(tmp_path):
    everything = (
        "double_seq_bn[leave_out=[1,2]]|par_bn[leave_out=[0,2]]|compacter[phm_dim=2,reduction_factor=2,leave_out=[0,1]]"
        "|loreft|prefix_tuning[flat=True]|prompt_tuning|lora"
    )
    assert "too many methods" in refused(make_folder(BASE, everything), tmp_path)


def test_labels_must_number_the_classes(tmp_path):
    folder = make_folder(BASE, head=HEAD)
    folder.documents["head_config.json"]["config"] = HEAD | {"label2id": {"a": 0, "b": 2}}
    assert "label2id" in refused(folder, tmp_path)


# --- what is unknown -----------------------------------------------------------------------------


def test_without_hub_adapter_json_the_unknown_stays_unknown(tmp_path):
    registered = BaseIdentity.model_validate(IDENTITY | {"name": "registered/name"})
    manifest = build(make_folder(BASE), tmp_path, registered=registered)
    document = manifest.document
    assert document.kind is None
    assert document.requires is None
    assert document.signature.slot is None
    assert document.signature.method == "seq_bn"
    assert document.signature.layers == (0, 1, 2)
    assert document.base.name == "registered/name"
    assert document.base.body is None
    assert document.languages == ("en",)  # from the card
    assert any("hub_adapter.json: is missing" in warning for warning in manifest.warnings)
    assert any("registered/name" in warning for warning in manifest.warnings)


def test_without_a_base_nothing_is_compared_and_that_is_said(tmp_path):
    folder = make_folder(BASE, identity=IDENTITY)
    name = next(iter(folder.tensors))
    folder.tensors[name] = noise((7, 7), "F32", 1)
    manifest = build(folder, tmp_path, base=None)
    assert manifest.document.signature.layers == (0, 1, 2)  # as the folder says
    assert any("not compared" in warning for warning in manifest.warnings)


def test_the_base_must_have_the_structure_that_is_registered(tmp_path):
    folder = make_folder(BASE, identity=IDENTITY | {"structure": sha("other")})
    with pytest.raises(InvalidPackage, match=r"base\.structure"):
        build(folder, tmp_path, registered=BaseIdentity.model_validate(IDENTITY))


def test_the_base_is_claimed_by_digests_else_by_name(tmp_path):
    def claimed(folder, name):
        return claimed_base(Package.from_folder(folder.write(tmp_path / name)))

    assert claimed(make_folder(BASE, identity=IDENTITY), "a").body == IDENTITY["body"]
    assert claimed(make_folder(BASE), "b") == BaseIdentity(name="tiny/bert")
    broken = make_folder(BASE)
    broken.files["adapter_config.json"] = b"{"
    assert claimed(broken, "c") == BaseIdentity()


def test_a_card_that_cannot_be_read_is_a_warning(tmp_path):
    manifest = build(make_folder(BASE, card="---\na: [\n---\nText"), tmp_path)
    assert any("README.md: the front matter is not YAML" in text for text in manifest.warnings)


def test_a_language_in_the_card_that_is_no_tag_is_a_warning(tmp_path):
    manifest = build(make_folder(BASE, card="---\nlanguage: [English, de]\n---\n"), tmp_path)
    assert manifest.document.languages == ("de",)
    assert any("'English'" in text for text in manifest.warnings)


# --- the content digest --------------------------------------------------------------------------


def test_what_does_not_affect_the_output_does_not_affect_the_content(tmp_path):
    before = content(make_folder(BASE, identity=IDENTITY, head=HEAD), tmp_path)
    for same in (
        make_folder(BASE, identity=IDENTITY, head=HEAD, card="# Other words"),
        make_folder(BASE, identity=IDENTITY, head=HEAD, card=""),
        make_folder(BASE, identity=IDENTITY | {"name": "mirror/of-it"}, head=HEAD),
        make_folder(BASE, identity=IDENTITY, head=HEAD, hub={"training": {"epochs": 3}}),
    ):
        assert content(same, tmp_path) == before


def test_the_local_name_of_an_adapter_does_not_affect_the_content(tmp_path):
    folders = [
        make_folder(BASE, identity=IDENTITY, head=HEAD, name=name) for name in ("mine", "my.lang")
    ]
    # The same values under both names.
    for one, other in zip(sorted(folders[0].tensors), sorted(folders[1].tensors), strict=True):
        folders[1].tensors[other] = folders[0].tensors[one]
    for one, other in zip(sorted(folders[0].head), sorted(folders[1].head), strict=True):
        folders[1].head[other] = folders[0].head[one]
    assert content(folders[0], tmp_path) == content(folders[1], tmp_path)


def test_defaults_that_are_left_out_do_not_affect_the_content(tmp_path):
    short = make_folder(BASE, identity=IDENTITY)
    given = short.documents["adapter_config.json"]["config"]
    needed = ("mh_adapter", "output_adapter", "reduction_factor", "non_linearity")
    before = content(short, tmp_path)
    # What is left of a bottleneck without its defaults; `original_ln_before` is True in seq_bn.
    short.documents["adapter_config.json"]["config"] = {
        key: given[key] for key in (*needed, "original_ln_before")
    }
    assert content(short, tmp_path) == before


def test_everything_that_affects_the_output_affects_the_content(tmp_path):
    base = make_folder(BASE, identity=IDENTITY, head=HEAD)
    changes = [
        make_folder(BASE, identity=IDENTITY, head=HEAD, seed=1),
        make_folder(BASE, identity=IDENTITY, head=HEAD, dtype="F16"),
        make_folder(BASE, identity=IDENTITY),
        make_folder(BASE, identity=IDENTITY, head=HEAD | {"label2id": {"a": 0, "b": 1}}),
        make_folder(BASE, identity=IDENTITY | {"body": sha("x")}, head=HEAD),
        make_folder(BASE, "seq_bn[reduction_factor=2,non_linearity=gelu]".replace("gelu", "'gelu'"),
                    identity=IDENTITY, head=HEAD),
        make_folder(BASE, identity=IDENTITY, head=HEAD,
                    hub={"requires": {"lang": {"signature": {"method": "seq_bn"}}}}),
        make_folder(BASE, identity=None, head=HEAD),
    ]  # fmt: skip
    digests = [content(folder, tmp_path) for folder in (base, *changes)]
    assert len(set(digests)) == len(digests)


def test_the_second_names_of_adapterhub_are_dropped_when_they_are_equal(tmp_path):
    base, config = bert(), load_config("prefix_tuning[flat=True,prefix_length=3]")
    ours = make_folder(base, config, identity=IDENTITY)
    theirs = make_folder(base, config, identity=IDENTITY)
    for name, tensor in list(theirs.tensors.items()):
        tail = name.removeprefix("bert.prefix_tuning.")
        if tail != name:
            theirs.tensors[f"bert.encoder.layer.0.attention.self.prefix_tuning.pool.{tail}"] = (
                tensor
            )
    assert len(theirs.tensors) > len(ours.tensors)
    assert content(theirs, tmp_path) == content(ours, tmp_path)

    copy = list(theirs.tensors)[-1]
    theirs.tensors[copy] = noise(theirs.tensors[copy].shape, "F32", "another")
    assert f"tensor {copy!r}: is not equal to" in refused(theirs, tmp_path)
