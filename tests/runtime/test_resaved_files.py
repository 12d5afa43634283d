"""What the reference library wrote and ours has read is written again as it was.

So whoever reads that library's files reads ours: names, shapes and values of the tensors, and every
field of the documents.
"""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.runtime.test_golden import MANIFEST, build, path

ALL = [
    pytest.param(case, id=case["id"], marks=() if number % 15 == 0 else pytest.mark.long)
    for number, case in enumerate(MANIFEST["cases"])
]
OURS_ALONE = {"subtract_projection", "random_uniform_scale"}
"""Fields that change what an adapter computes, or how it starts, and that the reference forgets."""


def read(folder, stem):
    """Return the tensors of a folder, from whichever of the two formats it has."""
    if (file := folder / f"{stem}.safetensors").exists():
        return load_file(file)
    return torch.load(folder / f"pytorch_{stem}.bin", weights_only=True)


def document(folder, name):
    return json.loads((folder / name).read_text("utf-8"))


def fields(config):
    """Return a configuration without what only ours saves."""
    if config is None:
        return None
    parts = {"configs": [fields(part) for part in config["configs"]]} if "configs" in config else {}
    return {name: config[name] for name in config.keys() - OURS_ALONE} | parts


def assert_same_documents(ours, theirs):
    # A base is called by the path it was read from, which was another.
    changing = ("config", "model_name")
    ours, theirs = dict(ours), dict(theirs)
    assert fields(ours["config"]) == fields(theirs["config"])
    for name in changing:
        del ours[name], theirs[name]
    # One class of the reference's has a name of its own where transformers' stands elsewhere.
    theirs["model_class"] = theirs["model_class"].removesuffix("WithAdapters")
    assert ours == theirs


def assert_same_tensors(ours, theirs):
    """Hold ours to be theirs; what theirs has more are second names of the same tensors."""
    assert ours.keys() <= theirs.keys()
    for key, tensor in ours.items():
        assert tensor.dtype == theirs[key].dtype
        assert torch.equal(tensor, theirs[key]), key
    for key in theirs.keys() - ours.keys():
        assert any(torch.equal(theirs[key], tensor) for tensor in ours.values()), key


def assert_same_heads(ours, theirs):
    ours_has, theirs_has = read(ours, "model_head"), read(theirs, "model_head")
    assert ours_has.keys() <= theirs_has.keys()
    for key, tensor in ours_has.items():
        assert torch.equal(tensor, theirs_has[key]), key
    names = "head_config.json"
    assert document(ours, names)["config"] == document(theirs, names)["config"]


def assert_same_files(ours, theirs, stem, config):
    assert_same_tensors(read(ours, stem), read(theirs, stem))
    assert_same_documents(document(ours, config), document(theirs, config))


@pytest.mark.parametrize("case", ALL)
def test_a_folder_is_saved_as_it_was_read(case, tmp_path):
    model, source = build(case), path(case["dir"])
    for name in case["adapters"]:
        theirs, ours = source / "adapters" / name, tmp_path / name
        model.load_adapter(theirs)
        model.save_adapter(ours, name)
        assert_same_files(ours, theirs, "adapter", "adapter_config.json")
        if (theirs / "head_config.json").exists():
            assert_same_heads(ours, theirs)
    for name in case["fusions"]:
        theirs, ours = source / "fusions" / name.replace(",", "_"), tmp_path / "fusion"
        model.load_adapter_fusion(theirs)
        model.save_adapter_fusion(ours, name)
        assert_same_files(ours, theirs, "model_adapter_fusion", "adapter_fusion_config.json")
