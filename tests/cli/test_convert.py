"""Converting old weights: tensors stay what they were, and nothing in a pickle is run."""

import pickle

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    return folder


def test_tensors_stay_what_they_were(folder, hubctl):
    weights = {
        "a.weight": torch.randn(3, 4),
        "transposed": torch.randn(4, 3).T,
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    shared = torch.randn(5)
    torch.save(weights | {"one": shared, "two": shared}, folder / "pytorch_adapter.bin")
    torch.save({"heads.a.1.weight": torch.zeros(2, 3)}, folder / "pytorch_model_head.bin")
    ended = hubctl("convert", folder)
    assert ended.code == 0, ended.err
    assert "pytorch_adapter.bin -> adapter.safetensors" in ended.out
    found = load_file(folder / "adapter.safetensors")
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert torch.equal(found["two"], shared)
    assert (folder / "model_head.safetensors").is_file()
    assert not list(folder.glob("*.bin"))


def test_another_folder_leaves_the_old_one_alone(folder, hubctl, tmp_path):
    torch.save({"a": torch.ones(1)}, folder / "pytorch_adapter.bin")
    assert hubctl("convert", folder, "--to", tmp_path / "new").code == 0
    assert (folder / "pytorch_adapter.bin").is_file()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "adapter.safetensors",
        "adapter_config.json",
    ]


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"a": Hostile()}, protocol=2),
        pickle.dumps(["no", "tensors"], protocol=2),
        b"PK\x03\x04 cut",
        b"",
    ],
)
def test_what_is_not_plain_tensors_is_refused_and_kept(folder, hubctl, content):
    path = folder / "pytorch_adapter.bin"
    path.write_bytes(content)
    ended = hubctl("convert", folder)
    assert ended.code == 1
    assert "pytorch_adapter.bin" in ended.err
    assert "executed" not in ended.out
    assert "weights_only" not in ended.err
    assert path.read_bytes() == content
    assert not list(folder.glob("*.safetensors"))


def test_one_bad_file_among_good_ones_changes_nothing(folder, hubctl):
    torch.save({"a": torch.ones(1)}, folder / "pytorch_adapter.bin")
    (folder / "pytorch_model_head.bin").write_bytes(b"cut")
    before = sorted(path.name for path in folder.iterdir())
    assert hubctl("convert", folder).code == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_folder_without_pickles_says_so(folder, hubctl):
    assert "nothing to convert" in hubctl("convert", folder).err
