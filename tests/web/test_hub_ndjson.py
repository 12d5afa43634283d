"""The reader of commit bodies: any cut of the bytes gives the same, in little memory."""

import base64
import json
import os
import tracemalloc

import pytest

from registry.blobs import FolderBlobs
from registry.revisions import Add, Delete, DeleteFolder
from web.hub.ndjson import CommitReader

MIB = 1 << 20


def line(key, **value):
    return json.dumps({"key": key, "value": value}).encode() + b"\n"


def file_line(path, content):
    return line("file", content=base64.b64encode(content).decode(), path=path, encoding="base64")


BODY = (
    line("header", summary='say "content": "x"', description="d", parentCommit="a" * 40)
    + file_line("a.txt", b"hello")
    + b"\n"
    + line("lfsFile", path="b.safetensors", algo="sha256", oid="0" * 64, size=5)
    + line("deletedFile", path="c.txt")
    + line("deletedFolder", path="d/")
    + file_line("e.txt", b"").rstrip(b"\n")
)


@pytest.fixture
def blobs(tmp_path):
    return FolderBlobs(tmp_path)


def read(blobs, pieces):
    with CommitReader(blobs, 100 * MIB, large_above=MIB) as reader:
        for piece in pieces:
            reader.feed(piece)
        return reader.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 61, len(BODY)])
def test_every_cut_of_the_bytes_reads_the_same(blobs, size):
    body = read(blobs, (BODY[at : at + size] for at in range(0, len(BODY), size)))

    assert (body.summary, body.description, body.parent) == ('say "content": "x"', "d", "a" * 40)
    assert [blobs.read(blob.sha256) for blob in body.stored] == [b"hello", b""]
    hello, empty = (blob.sha256 for blob in body.stored)
    assert body.operations == [
        Add("a.txt", hello),
        Add("b.safetensors", "0" * 64, large=True),
        Delete("c.txt"),
        DeleteFolder("d"),
        Add("e.txt", empty),
    ]


def test_a_large_file_does_not_pass_through_memory(blobs):
    content = os.urandom(32 * MIB)
    body = file_line("a.safetensors", content)
    pieces = (body[at : at + MIB] for at in range(0, len(body), MIB))
    tracemalloc.start()
    stored = read(blobs, pieces).stored[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert stored.size == len(content)
    assert peak < 12 * MIB


def test_files_that_clients_know_by_sha256_are_marked(blobs):
    lines = file_line("a.safetensors", b"x") + file_line("b.txt", b"x" * MIB + b"x")
    operations = read(blobs, [lines]).operations
    assert [operation.large for operation in operations] == [True, True]


def test_leaving_the_reader_drops_what_is_unfinished(blobs):
    with CommitReader(blobs, 100 * MIB, large_above=MIB) as reader:
        reader.feed(file_line("a.txt", b"x" * 1000)[:500])
    assert list(blobs.drafts.iterdir()) == []
