"""The runtime's own way to a hub, in a process that has only HF_ENDPOINT set to ours."""

import json
from pathlib import Path

BASE = Path(__file__).parents[1] / "data" / "peft" / "base"

PROGRAM = """
import json
import sys

import torch
from huggingface_hub import HfApi, hf_hub_download

import adapters_runtime as ar
from adapters_runtime.errors import FormatError


def new_model():
    model = ar.AutoAdapterModel.from_pretrained(sys.argv[1]).eval()
    model.describe_base("tiny/bert", "0" * 40)
    return model


def output_of(model):
    with torch.no_grad():
        return model(torch.arange(12)[None] + 5)[0].tolist()


def card_of(repo):
    return open(hf_hub_download(repo, "README.md")).read()


model = new_model()
model.add_adapter("ner", "seq_bn_inv[init_weights='mam_adapter']")
model.add_tagging_head("ner", num_labels=3)
model.add_adapter("more", "lora[init_weights='bert']")
found = {}

facts = {"language": "en", "license": "mit", "tags": ["names"], "results": "Good."}
model.push_adapter_to_hub("ana/ner", "ner", datasets_tag="wikiann", adapter_card_kwargs=facts)
found["card"] = card_of("ana/ner")
first = ar.get_adapter_info("ana/ner")
model.set_active_adapters("ner")
model.describe_adapter("ner", kind="task", languages=["en"])
second_url = model.push_adapter_to_hub("ana/ner", "ner", commit_message="Say what it is for")
found["same_card"] = card_of("ana/ner") == found["card"]
model.push_adapter_to_hub("ana/ner", "ner", overwrite_adapter_card=True)
found["new_card"] = card_of("ana/ner")
found["titles"] = [commit.title for commit in HfApi().list_repo_commits("ana/ner")]

setup = ar.Stack("more", "ner")
model.push_adapter_setup_to_hub("ana/both", setup, "ner", private=True)
model.set_active_adapters(setup)
expected_both = output_of(model)
model.set_active_adapters("ner")
expected = output_of(model)

other = new_model()
found["name"] = other.load_adapter("ana/ner", set_active=True)
found["equal"] = output_of(other) == expected
found["old"] = other.load_adapter("ana/ner", version=first.sha1_checksum, load_as="old")
other.set_active_adapters("old")
found["old_equal"] = output_of(other) == expected
third = new_model()
third.load_adapter_setup("ana/both", set_active=True)
found["both_equal"] = output_of(third) == expected_both
for arguments in ({}, {"version": "v9"}):
    try:
        other.load_adapter("ana/nothing" if not arguments else "ana/ner", **arguments)
    except FormatError as error:
        found.setdefault("refused", []).append(str(error))

found["listed"] = sorted(one.adapter_id for one in ar.list_adapters())
found["for_base"] = sorted(one.adapter_id for one in ar.list_adapters("tiny/bert"))
found["for_another"] = [one.adapter_id for one in ar.list_adapters("other/bert")]
info = ar.get_adapter_info("ana/ner")
found["info"] = [info.source, info.adapter_id, info.model_name, info.username]
found["moved"] = info.sha1_checksum != first.sha1_checksum
found["none"] = ar.get_adapter_info("ana/nothing")
found["files"] = sorted(HfApi().list_repo_files("ana/both"))
print(json.dumps(found))
"""


def test_the_runtime_publishes_to_a_hub_and_loads_from_it(run_python):
    lines = run_python(PROGRAM, BASE).stdout.splitlines()
    found = json.loads(lines[-1])

    assert 'base_model: "tiny/bert"' in found["card"]
    assert 'language: "en"' in found["card"]
    assert 'datasets: ["wikiann"]' in found["card"]
    assert 'model.load_adapter("ana/ner", set_active=True)' in found["card"]
    assert "## Results\n\nGood." in found["card"]
    assert found["same_card"]  # what people wrote on the hub is not written over
    assert "license" not in found["new_card"]
    assert found["titles"][:2] == ["Upload ner", "Say what it is for"]

    assert found["name"] == "ner"
    assert found["old"] == "old"
    assert found["equal"]
    assert found["old_equal"]
    assert found["both_equal"]
    for refusal, subject in zip(found["refused"], ("ana/nothing", "ana/ner at v9"), strict=True):
        assert subject in refusal
        assert "is no folder here, and cannot be had from http://127.0.0.1" in refusal

    assert found["listed"] == found["for_base"] == ["ana/both", "ana/ner"]
    assert found["for_another"] == []
    assert found["info"] == ["hf", "ana/ner", "tiny/bert", "ana"]
    assert found["moved"]
    assert found["none"] is None
    assert {"adapter_setup.json", "README.md", "ner/model_head.safetensors"} <= set(found["files"])
    assert not [path for path in found["files"] if "hub_base" in path]
