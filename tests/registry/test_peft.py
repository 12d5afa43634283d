import json
import random

import pytest

from registry.errors import InvalidPackage
from registry.manifest import build_manifest, claimed_base
from registry.packages import Package
from registry.schemas import BaseIdentity
from tests.support.packages import bert, gpt2, llama, noise, safetensors

BASE = bert()
CONFIG = {
    "peft_type": "LORA",
    "base_model_name_or_path": "tiny/bert",
    "revision": None,
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["query", "value"],
    "bias": "none",
    "modules_to_save": None,
    "rank_pattern": {},
    "use_dora": False,
}


def lora(base=BASE, paths=("query", "value"), rank=2, prefix="bert."):
    """Return the tensors that PEFT saves for these linear maps."""
    tensors = {}
    for name, shape in base.tensors.items():
        path = name.removesuffix(".weight")
        if path != name and path.rpartition(".")[2] in paths:
            out, inputs = shape[::-1] if base.architecture.conv1d else shape
            at = f"base_model.model.{prefix}{path}"
            tensors[f"{at}.lora_A.weight"] = noise((rank, inputs), "F32", path)
            tensors[f"{at}.lora_B.weight"] = noise((out, rank), "F32", path)
    return tensors


def package(tmp_path, tensors, **config):
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    (tmp_path / "adapter_model.safetensors").write_bytes(safetensors(tensors))
    return Package.from_folder(tmp_path)


def refused(package, base=BASE):
    with pytest.raises(InvalidPackage) as refusal:
        build_manifest(package, base)
    return "\n".join(refusal.value.problems)


def test_a_lora_of_peft_becomes_a_document(tmp_path):
    manifest = build_manifest(package(tmp_path, lora()), BASE)
    document = manifest.document
    assert (document.layout, document.method) == ("peft", "peft:lora")
    assert document.signature.layers == (0, 1, 2)
    assert document.signature.points == ("query", "value")
    assert document.configuration["r"] == 2
    assert "base_model_name_or_path" not in document.configuration
    assert len(document.tensors["adapter_model.safetensors"]) == 12


@pytest.mark.parametrize(
    ("base", "paths", "prefix"),
    [
        (BASE, ("query",), ""),
        (gpt2(), ("c_attn",), "transformer."),
        (llama(), ("q_proj", "down_proj"), "model."),
    ],
)
def test_the_bases_prefix_and_transposed_maps_are_understood(base, paths, prefix, tmp_path):
    files = package(tmp_path, lora(base, paths, prefix=prefix), target_modules=list(paths))
    assert build_manifest(files, base).document.signature.points == tuple(sorted(paths))


def test_all_that_a_lora_may_hold_is_accepted(tmp_path):
    tensors = lora()
    at = "base_model.model.bert."
    query = f"{at}encoder.layer.0.attention.self.query"
    for module in ("query", "value"):
        for layer in range(3):
            path = f"{at}encoder.layer.{layer}.attention.self.{module}"
            tensors[f"{path}.lora_magnitude_vector"] = noise((8,), "F32", path)
    tensors[f"{query}.base_layer.bias"] = noise((8,), "F32", 1)
    words = f"{at}embeddings.word_embeddings"
    tensors[f"{words}.lora_embedding_A"] = noise((2, 50), "F32", 1)
    tensors[f"{words}.lora_embedding_B"] = noise((8, 2), "F32", 1)
    tensors["base_model.model.classifier.weight"] = noise((3, 8), "F32", 1)
    files = package(
        tmp_path,
        tensors,
        use_dora=True,
        bias="lora_only",
        modules_to_save=["classifier"],
        target_modules=["query", "value", "word_embeddings"],
    )
    # PEFT trains no magnitude for the embedding here; DoRA asks for one.
    assert "embeddings.word_embeddings, magnitude: is missing" in refused(files)
    tensors[f"{words}.lora_magnitude_vector"] = noise((8,), "F32", 1)
    files = package(
        tmp_path,
        tensors,
        use_dora=True,
        bias="lora_only",
        modules_to_save=["classifier"],
        target_modules=["query", "value", "word_embeddings"],
    )
    assert build_manifest(files, BASE).document.method == "peft:lora"


def test_ranks_may_differ_where_the_configuration_says_so(tmp_path):
    tensors = lora(paths=("query",)) | lora(paths=("value",), rank=5)
    assert "has rank 5" in refused(package(tmp_path, tensors))
    build_manifest(package(tmp_path, tensors, rank_pattern={"value": 5}), BASE)


def test_an_expression_of_a_stranger_is_not_evaluated(tmp_path):
    endless = "(a+)+$" * 20
    files = package(tmp_path, lora(), target_modules=endless, rank_pattern={endless: 2})
    assert build_manifest(files, BASE).document.configuration["target_modules"] == endless


def drop(tensors, rng):
    name = rng.choice(sorted(tensors))
    del tensors[name]
    return "is missing"


def drop_module(tensors, rng):
    path = rng.choice(sorted(tensors)).rpartition(".lora_")[0]
    for side in "AB":
        del tensors[f"{path}.lora_{side}.weight"]
    return "target_modules calls for it"


def reshape(tensors, rng):
    name = rng.choice(sorted(tensors))
    tensors[name] = noise((3, 7), "F32", 1)
    return name.removeprefix("base_model.model.bert.").rpartition(".lora_")[0]


def rename(tensors, rng):
    name = rng.choice(sorted(tensors))
    tensors[name.replace(".self.", ".other.")] = tensors.pop(name)
    return "no linear map or embedding of that name"


def unprefix(tensors, rng):
    name = rng.choice(sorted(tensors))
    tensors[name.removeprefix("base_model.")] = tensors.pop(name)
    return "does not begin with 'base_model.model.'"


def add(tensors, rng):
    name = rng.choice(
        ("base_model.model.classifier.weight", "base_model.model.bert.pooler.dense.weight")
    )
    tensors[name] = noise((3, 8), "F32", 1)
    return name


def hide(tensors, _rng):
    tensors["base_model.model.bert.encoder.layer.0.attention.self.query.bias"] = noise(
        (8,), "F32", 1
    )
    return "self.query.bias': does not belong"


@pytest.mark.parametrize("spoil", [drop, drop_module, reshape, rename, unprefix, add, hide])
@pytest.mark.parametrize("seed", range(5))
def test_a_spoilt_lora_is_refused_with_the_module_named(spoil, seed, tmp_path):
    tensors = lora()
    word = spoil(tensors, random.Random(seed))
    assert word in refused(package(tmp_path, tensors))


def test_a_lora_of_another_base_is_refused(tmp_path):
    problems = refused(package(tmp_path, lora(bert(width=16))))
    assert "query.lora_A.weight': has shape [2, 16], the base calls for [rank, 8]" in problems


@pytest.mark.parametrize("kind", ["LOHA", "IA3", "PREFIX_TUNING", None])
def test_other_methods_of_peft_are_refused_by_name(kind, tmp_path):
    problems = refused(package(tmp_path, lora(), peft_type=kind))
    assert f"peft_type is {kind!r}" in problems
    assert "only LORA" in problems


def test_the_base_of_a_checkpoint_goes_by_its_name(tmp_path):
    files = package(tmp_path, lora(), revision="abc")
    assert claimed_base(files) == BaseIdentity(name="tiny/bert", revision="abc")
