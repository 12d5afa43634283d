import pytest

from registry.diff import compare
from tests.registry.manifests import head, manifest, signature, tensor

BASE = manifest()
TENSORS = BASE.model_dump()["tensors"]
FILES = BASE.model_dump()["files"]


def with_tensor(file, **tensors):
    return manifest(tensors=TENSORS | {file: TENSORS[file] | tensors})


@pytest.mark.parametrize(
    ("after", "summary"),
    [
        (BASE, "nothing changed"),
        (
            manifest(files=FILES | {"README.md": {"sha256": "9" * 64, "size": 1}}),
            "same weights, card changed",
        ),
        (
            manifest(files=FILES | {"vocab.txt": {"sha256": "9" * 64, "size": 1}}),
            "same weights, other files changed",
        ),
        (
            with_tensor("model_head.safetensors", **{"heads.*.1.weight": tensor(7)}),
            "only the head changed",
        ),
        (manifest(head=head(labels=["a", "b"])), "only the head changed"),
        (with_tensor("adapter.safetensors", up=tensor(7)), "1 of 3 tensors differ"),
        (
            manifest(signature=signature(series="x"), configuration={}),
            "same weights, configuration and signature changed",
        ),
    ],
)
def test_a_difference_is_summed_up_in_words(after, summary):
    assert compare(BASE, after).summary == summary


@pytest.mark.parametrize(
    ("tensors", "change"),
    [
        ({"up": tensor(7)}, "changed"),
        ({"up": tensor(2, dtype="F16")}, "cast"),
        ({"up": tensor(2, shape=(8, 8))}, "reshaped"),
        ({"extra": tensor(1)}, "added"),
    ],
)
def test_each_tensor_that_differs_is_named_with_what_happened(tensors, change):
    (found,) = compare(BASE, with_tensor("adapter.safetensors", **tensors)).tensors
    assert (found.file, found.name, found.change) == (
        "adapter.safetensors",
        next(iter(tensors)),
        change,
    )
    (back,) = compare(with_tensor("adapter.safetensors", **tensors), BASE).tensors
    assert back.change == ("removed" if change == "added" else change)


def test_files_that_came_went_or_changed_are_listed():
    after = manifest(
        files={
            "README.md": {"sha256": "9" * 64, "size": 1},
            "new.txt": {"sha256": "0" * 64, "size": 1},
        }
    )
    assert compare(BASE, after).files == {
        "README.md": "changed",
        "adapter.safetensors": "removed",
        "new.txt": "added",
    }
