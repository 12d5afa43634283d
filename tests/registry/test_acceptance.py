"""Which files a revision may hold."""

import pickle
import random

import pytest

from registry.acceptance import Limits, check_file, check_path, check_tree, sniff
from registry.errors import UploadRefused
from tests.support.mutations import bad_path

LIMITS = Limits(file=1000, revision_files=3, revision_bytes=2000)
SAFETENSORS = (640).to_bytes(8, "little") + b'{"a": 1}'  # begins with the bytes of a pickle


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("adapter_model.safetensors", SAFETENSORS),
        ("adapter_config.json", b"{}"),
        ("README.md", b"# Card"),
        ("LICENSE", b"Apache"),
        (".gitattributes", b"*.safetensors filter=lfs"),
        ("tokenizer/spiece.model", b"\x0a\x0e\x0a\x05<unk>\0"),
        ("vocab.txt", b"[PAD]"),
        ("empty.txt", b""),
    ],
)
def test_files_of_an_adapter_are_taken(path, content):
    check_file(path, len(content), sniff(content), LIMITS)


@pytest.mark.parametrize("name", ["pytorch_adapter.bin", "model.pt", "training_args.bin", "A.PKL"])
def test_pickles_are_refused_with_the_remedy(name):
    with pytest.raises(UploadRefused, match=r"use_safetensors=True or run 'hubctl convert'"):
        check_file(name, 10, "text", LIMITS)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("adapter.safetensors", pickle.dumps({}), "holds a pickle"),
        ("adapter.safetensors", b"PK\x03\x04torch", "holds a zip archive"),
        ("adapter.safetensors", b"not tensors", "nothing that its name promises"),
        ("adapter_config.json", b"\x1f\x8b\x08", "holds a gzip archive"),
        ("README.md", b"\x7fELF\x02", "holds a program"),
        ("notes.txt", b"a\0b", "nothing that its name promises"),
        ("spiece.model", b"\x80\x04\x95", "holds a pickle"),
        ("run.sh", b"#!/bin/sh", "not a kind of file this hub takes"),
        ("script.py", b"import os", "not a kind of file this hub takes"),
        ("adapter_config.json", b"x" * 1001, "has 1,001 bytes; a file may have 1,000"),
    ],
)
def test_other_files_are_refused(path, content, message):
    with pytest.raises(UploadRefused, match=message):
        check_file(path, len(content), sniff(content), LIMITS)


@pytest.mark.parametrize(
    "path",
    [
        *("../x.json", "/etc/x.json", "a//b.json", "a/./b.json", "", "a b.json", "ä.json"),
        *("a\\b.json", "a/../../b.json", "x" * 256 + ".json", "a\n.json", "a:b.json"),
    ],
)
def test_paths_that_are_not_plain_are_refused(path):
    with pytest.raises(UploadRefused, match="path"):
        check_path(path)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (dict.fromkeys(["a", "b", "c", "d"], 1), "4 files; a revision may hold 3"),
        ({"a": 1500, "b": 1500}, "3,000 bytes; a revision may hold 2,000"),
        ({"Card.md": 1, "card.md": 1}, "differ only in case"),
        ({"a.txt": 1, "a.txt/b.txt": 1}, "a file and the folder"),
    ],
)
def test_trees_that_cannot_be_one_revision_are_refused(sizes, message):
    with pytest.raises(UploadRefused, match=message):
        check_tree(sizes, LIMITS)


def test_paths_made_to_mislead_are_refused_by_name():
    dice = random.Random(0)
    for _ in range(300):
        path = bad_path(dice)
        with pytest.raises(UploadRefused) as refusal:
            check_path(path)
        assert repr(path[:60])[:-1] in str(refusal.value)
