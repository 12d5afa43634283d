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
            out, inputs = shape[::-1] if base.keeps_turned(path) else shape
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


def beside(base, shapes, paths, prefix):
    """Return tensors of one kind for these linear maps: `shapes` takes (out, in)."""
    tensors = {}
    for name, shape in base.tensors.items():
        path = name.removesuffix(".weight")
        if path != name and path.rpartition(".")[2] in paths:
            for part, size in shapes(*shape).items():
                tensors[f"base_model.model.{prefix}{path}.{part}"] = noise(size, "F32", path)
    return tensors


def head(tensors):
    return {
        f"base_model.model.{name}": noise(shape, "F32", name) for name, shape in tensors.items()
    }


IA3 = {
    "peft_type": "IA3",
    "target_modules": ["k_proj", "down_proj"],
    "feedforward_modules": ["down_proj"],
}


def ia3(base):
    found = beside(base, lambda out, _: {"ia3_l": (out, 1)}, ["k_proj"], "model.")
    return found | beside(base, lambda _, read: {"ia3_l": (1, read)}, ["down_proj"], "model.")


def test_ia3_becomes_a_document_and_each_tensor_is_checked(tmp_path):
    base = llama()
    document = build_manifest(package(tmp_path, ia3(base), **IA3), base).document
    assert (document.method, document.signature.points) == ("peft:ia3", ("down_proj", "k_proj"))
    for name in ia3(base):
        tensors = ia3(base)
        del tensors[name]
        assert name.split("model.")[-1].removesuffix(".ia3_l") in refused(
            package(tmp_path, tensors, **IA3), base
        )
        turned = ia3(base) | {name: noise(ia3(base)[name].shape[::-1], "F32", 1)}
        assert f"{name!r}: has shape" in refused(package(tmp_path, turned, **IA3), base)


PROMPTS = {
    "PREFIX_TUNING": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3, "num_layers": 2},
    "PROMPT_TUNING": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3},
}


@pytest.mark.parametrize(
    ("kind", "width", "layers"), [("PREFIX_TUNING", 16, (0, 1)), ("PROMPT_TUNING", 8, ())]
)
def test_soft_prompts_become_documents(kind, width, layers, tmp_path):
    """Two layers of keys and values of width 4 make 16; a token of this llama is 8 wide."""
    base, config = llama(), PROMPTS[kind] | {"modules_to_save": ["score"]}
    score = {"base_model.score.weight": noise((2, 8), "F32", 1)}
    prompt = {"prompt_embeddings": noise((3, width), "F32", 1)} | score
    document = build_manifest(package(tmp_path, prompt, **config), base).document
    assert (document.method, document.signature.layers) == (f"peft:{kind.lower()}", layers)
    for shape in ((2, width), (3, width + 1), (width,)):
        wrong = score | {"prompt_embeddings": noise(shape, "F32", 1)}
        problems = refused(package(tmp_path, wrong, **config), base)
        assert f"the base call for [3, {width}]" in problems
    assert "is missing" in refused(package(tmp_path, score, **config), base)
    stray = prompt | {"base_model.other.weight": noise((2, 8), "F32", 1)}
    assert "nor part of modules_to_save" in refused(package(tmp_path, stray, **config), base)


def adapted_head(out=3, read=8, rank=2):
    return lora() | head(
        {"classifier.lora_A.weight": (rank, read), "classifier.lora_B.weight": (out, rank)}
    )


def test_a_lora_of_a_head_is_checked_against_what_the_head_reads(tmp_path):
    config = {"target_modules": ["query", "value", "classifier"]}
    document = build_manifest(package(tmp_path, adapted_head(), **config), BASE).document
    assert "classifier" in document.signature.points
    problems = refused(package(tmp_path, adapted_head(read=7), **config))
    assert "'base_model.model.classifier.lora_A.weight': has shape [2, 7]" in problems
    assert "[rank, 8]" in problems
    assert "rank 5" in refused(package(tmp_path, adapted_head(rank=5), **config))
    below = adapted_head() | head({"classifier.base_layer.weight": (4, 8)})
    assert "[4, rank]" in refused(package(tmp_path, below, **config))


def test_the_output_below_its_lora_is_kept(tmp_path):
    base = llama()
    outputs = head(
        {
            "lm_head.lora_A.weight": (2, 8),
            "lm_head.lora_B.weight": (50, 2),
            "lm_head.base_layer.weight": (50, 8),
        }
    )
    tensors = lora(base, ("q_proj",), prefix="model.") | outputs
    config = {"target_modules": ["q_proj", "lm_head"]}
    assert build_manifest(package(tmp_path, tensors, **config), base).document.method == "peft:lora"


def test_a_saved_head_is_checked_as_far_as_it_is_known(tmp_path):
    config = {"modules_to_save": ["classifier"]}
    good = {"classifier.weight": (3, 8), "classifier.bias": (3,)}
    build_manifest(package(tmp_path, lora() | head(good), **config), BASE)
    for change, message in (
        ({"classifier.weight": (3, 7)}, "reads nothing that the base gives"),
        ({"classifier.bias": (2,)}, "its weight [3, 8]"),
        ({"classifier.scale": (3,)}, "the head has no tensor of that name"),
    ):
        files = package(tmp_path, lora() | head(good | change), **config)
        assert message in refused(files)


def test_biases_and_rows_that_the_configuration_trains_are_accepted(tmp_path):
    at = "base_model.model.bert."
    extra = {
        f"{at}embeddings.word_embeddings.token_adapter.trainable_tokens_delta": noise(
            (2, 8), "F32", 1
        ),
        "base_model.model.classifier.bias": noise((3,), "F32", 1),
    }
    config = {"bias": "all", "trainable_token_indices": {"word_embeddings": [4, 7]}}
    document = build_manifest(package(tmp_path, lora() | extra, **config), BASE).document
    assert document.signature.rows
    assert "calls for [3, 8]" in refused(
        package(tmp_path, lora() | extra, bias="all", trainable_token_indices=[4, 7, 9])
    )
    assert "trains no biases" in refused(package(tmp_path, lora() | extra, bias="none"))


@pytest.mark.parametrize("kind", ["LOHA", "ADALORA", None])
def test_other_methods_of_peft_are_refused_by_name(kind, tmp_path):
    problems = refused(package(tmp_path, lora(), peft_type=kind))
    assert f"peft_type is {kind!r}" in problems
    assert "LORA, IA3, PREFIX_TUNING, PROMPT_TUNING can be checked" in problems


def test_the_base_of_a_checkpoint_goes_by_its_name(tmp_path):
    files = package(tmp_path, lora(), revision="abc")
    assert claimed_base(files) == BaseIdentity(name="tiny/bert", revision="abc")
