"""Adapters of every kind, from training through a hub to a model that gives the same outputs."""

import copy
import importlib
import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from adapters_runtime import AutoAdapterModel, Fuse, Parallel, Stack, init, load_setup
from adapters_runtime.fusing import parameters_of
from adapters_runtime.inject.bank import bank_of
from cli import transfer
from tests.support.commands import run
from tests.support.running import inputs_for, randomise, randomise_adapter
from tests.support.server import running_server
from tests.support.tiny_models import build_tiny

WORDS = 40
"""Tokens of the vocabulary that is not the base's, which has 32."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A fresh hub, and a command line that knows nothing but it."""
    transfer.huggingface_hub()
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HUBCTL_CREDENTIALS", str(tmp_path / "credentials.json"))
    with running_server(tmp_path / "hub") as server:
        monkeypatch.setenv("HUBCTL_ENDPOINT", server.url)
        monkeypatch.setenv("HUBCTL_TOKEN", server.token)
        yield server


def fresh():
    base = build_tiny("bert")
    model = AutoAdapterModel.from_config(copy.deepcopy(base.config))
    model.base_model.load_state_dict(base.state_dict())
    model.describe_base(name="tiny/bert", revision="0" * 40)
    return model.eval()


def done(*words):
    ended = run(*words)
    assert ended.code == 0, ended.err
    return ended


def publish(folder, name):
    return json.loads(done("push", folder, name, "--json").out)


def pulled(name, target):
    done("pull", name, "--to", target)
    return target


def pulled_recipe(tmp_path, slots, setup, head=None):
    recipe = {"schema": "hub.recipe/1", "base": "tiny/bert", "slots": slots, "setup": setup}
    if head is not None:
        recipe["head"] = head
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    done("pull", "--recipe", tmp_path / "recipe.json", "--to", tmp_path / "setup")
    return tmp_path / "setup"


@torch.no_grad()
def logits(model, ids=None):
    inputs = inputs_for(model) if ids is None else {"input_ids": ids}
    return model.eval()(**inputs).logits


def trained_members(tmp_path, hub):
    """Publish two adapters, and return a model that has pulled them."""
    model = fresh()
    for seed, name in enumerate("ab"):
        model.add_adapter(name, "seq_bn[reduction_factor=4]")
        randomise_adapter(model, name, seed)
        model.describe_adapter(name, kind="task", languages=["en"])
        model.save_adapter(tmp_path / name, name)
        publish(tmp_path / name, f"ana/{name}")
    other = fresh()
    for name in "ab":
        other.load_adapter(pulled(f"ana/{name}", tmp_path / f"pulled-{name}"), load_as=name)
    return other


def fused(tmp_path, hub):
    """Train a fusion with a head over the two, publish both, and return the model."""
    model = trained_members(tmp_path, hub)
    model.add_adapter_fusion(["a", "b"], "dynamic", name="mix")
    model.add_tagging_head("labels", num_labels=3)
    setup = Fuse("a", "b", name="mix")
    model.train_adapter_fusion(setup)
    for number, parameter in enumerate(parameters_of(bank_of(model), "mix")):
        generator = torch.Generator().manual_seed(number)
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    randomise(model.heads["labels"], seed=5)
    model.active_head = "labels"
    model.save_adapter_fusion(tmp_path / "mix", "mix")
    model.save_head(tmp_path / "labels", "labels")
    assert publish(tmp_path / "mix", "ana/mix")["kind"] == "fusion"
    assert publish(tmp_path / "labels", "ana/labels")["kind"] == "head"
    return model


FUSED = {"one": "ana/a", "two": "ana/b", "fuse": "ana/mix", "head": "ana/labels"}


def test_a_fusion_and_a_head_of_their_own_come_back_as_they_were(tmp_path, hub):
    expected = logits(fused(tmp_path, hub))
    folder = pulled_recipe(tmp_path, FUSED, {"Fuse": ["one", "two"], "layer": "fuse"}, "head")
    model = fresh()
    assert load_setup(model, folder) == Fuse("one", "two", name="fuse")
    assert model.active_head == "head"
    assert torch.equal(logits(model), expected)


def test_a_fusion_over_others_than_in_training_is_refused(tmp_path, hub):
    fused(tmp_path, hub)
    recipe = {"base": "tiny/bert", "slots": FUSED, "setup": {"Fuse": ["two", "one"]}, "head": []}
    recipe["setup"]["layer"] = "fuse"
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    ended = run("pull", "--recipe", tmp_path / "recipe.json", "--to", tmp_path / "no")
    assert ended.code != 0
    assert "member 1 was ana/a@1.0.0 in training, here it is ana/b@1.0.0" in ended.err
    assert not (tmp_path / "no").exists()


def classifier():
    """Return a model of transformers that was built with its head."""
    base = build_tiny("bert")
    model = BertForSequenceClassification(copy.deepcopy(base.config))
    model.bert.load_state_dict(base.state_dict())
    init(model)
    model.describe_base(name="tiny/bert", revision="0" * 40)
    return model.eval()


def test_a_head_that_its_model_was_built_with_comes_back_as_it_was(tmp_path, hub):
    model = classifier()
    model.add_adapter("mine", "seq_bn[reduction_factor=4]")
    model.describe_adapter("mine", kind="task", languages=["en"])
    randomise_adapter(model, "mine", 1)
    randomise(model.classifier, seed=2)
    model.set_active_adapters("mine")
    expected = logits(model)
    model.save_adapter(tmp_path / "mine", "mine")
    publish(tmp_path / "mine", "ana/mine")

    folder = pulled("ana/mine", tmp_path / "pulled")
    again, flexible = classifier(), fresh()
    for other in (again, flexible):
        other.set_active_adapters(other.load_adapter(folder))
    assert torch.equal(logits(again), expected)
    torch.testing.assert_close(logits(flexible), expected)


def test_heads_that_form_a_tree_are_set(tmp_path, hub):
    model = trained_members(tmp_path, hub)
    for seed, name in enumerate(("x", "y")):
        model.add_tagging_head(name, num_labels=2)
        randomise(model.heads[name], seed)
        model.save_head(tmp_path / name, name)
        publish(tmp_path / name, f"ana/{name}")
    model.set_active_adapters(Parallel("a", "b"))
    model.active_head = Parallel("x", "y")
    expected = [output.logits for output in model(**inputs_for(model)).head_outputs]

    slots = {"a": "ana/a", "b": "ana/b", "x": "ana/x", "y": "ana/y"}
    heads = {"Parallel": ["x", "y"]}
    folder = pulled_recipe(tmp_path, slots, {"Parallel": ["a", "b"]}, heads)
    again = fresh()
    load_setup(again, folder)
    assert again.active_head == Parallel("x", "y")
    found = [output.logits for output in again(**inputs_for(again)).head_outputs]
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def tokenizer():
    vocabulary = {f"w{number}": number for number in range(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")


def test_embeddings_with_their_tokenizer_replace_the_bases(tmp_path, hub):
    model = fresh()
    model.add_embeddings("quechua", tokenizer())
    model.save_embeddings(tmp_path / "quechua", "quechua", tokenizer())
    assert publish(tmp_path / "quechua", "ana/qu-words")["kind"] == "embedding"

    model = fresh()
    model.load_embeddings(pulled("ana/qu-words", tmp_path / "words"), "quechua")
    model.add_adapter("qu", "seq_bn_inv[reduction_factor=4]")
    model.describe_adapter("qu", kind="language", languages=["qu"])
    model.add_tagging_head("qu", num_labels=2)
    model.train_adapter("qu")
    randomise_adapter(model, "qu", 1)
    model.save_adapter(tmp_path / "qu", "qu")
    publish(tmp_path / "qu", "ana/qu")
    requires = json.loads((tmp_path / "qu" / "hub_adapter.json").read_text())["requires"]
    assert requires["embedding"]["ref"] == "ana/qu-words@1.0.0"
    ids = torch.randint(WORDS, (2, 6), generator=torch.Generator().manual_seed(0))
    expected = logits(model, ids)

    slots = {"lang": "ana/qu", "embedding": "ana/qu-words"}
    folder = pulled_recipe(tmp_path, slots, {"Stack": ["lang"]}, "lang")
    again = fresh()
    assert load_setup(again, folder) == Stack("lang")
    assert again.active_embeddings == "embedding"
    assert torch.equal(logits(again, ids), expected)


@pytest.mark.parametrize("parts", ["with its parts", "as a lock"])
def test_a_set_up_is_published_as_one(parts, tmp_path, hub):
    expected = logits(fused(tmp_path, hub))
    folder = pulled_recipe(tmp_path, FUSED, {"Fuse": ["one", "two"], "layer": "fuse"}, "head")
    if parts == "as a lock":
        for slot in FUSED:
            for path in (folder / slot).iterdir():
                path.unlink()
            (folder / slot).rmdir()
    assert publish(folder, "ana/whole")["kind"] == "setup"
    again = pulled("ana/whole", tmp_path / "again")
    if parts == "as a lock":
        done("pull", "--lock", again, "--to", tmp_path / "loaded")
        again = tmp_path / "loaded"
    model = fresh()
    load_setup(model, again)
    assert torch.equal(logits(model), expected)


def test_a_part_of_a_set_up_that_does_not_fit_is_named(tmp_path, hub):
    fused(tmp_path, hub)
    folder = pulled_recipe(tmp_path, FUSED, {"Fuse": ["one", "two"], "layer": "fuse"}, "head")
    weights = folder / "two" / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    ended = run("push", folder, "ana/whole")
    assert ended.code != 0
    assert "two/adapter.safetensors: tensor" in ended.err
    assert "truncated" in ended.err
