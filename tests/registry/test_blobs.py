"""Blobs: what is kept is whole, and what is not whole is not kept."""

import hashlib
import io
import os
import subprocess
import tracemalloc

import pytest
from obstore.store import MemoryStore

from registry.acceptance import SAFETENSORS, TEXT
from registry.blobs import CHUNK, BucketBlobs, FolderBlobs, open_blobs
from registry.errors import BlobMissing, DigestMismatch

CONTENT = b"adapters" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["folder", "bucket"])
def blobs(request, tmp_path):
    if request.param == "folder":
        return FolderBlobs(tmp_path / "blobs")
    return BucketBlobs(MemoryStore())


def test_what_was_stored_can_be_read(blobs):
    stored = blobs.store(io.BytesIO(CONTENT))

    assert (stored.sha256, stored.size) == (SHA256, len(CONTENT))
    assert blobs.exists(SHA256)
    assert blobs.read(SHA256) == CONTENT
    with blobs.open(SHA256) as file:
        assert file.read() == CONTENT
        file.seek(8)
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(CONTENT[8:]).digest()


def test_storing_twice_changes_nothing(blobs):
    assert blobs.store([CONTENT]) == blobs.store([CONTENT[:10], CONTENT[10:]])


@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (1, 5), (7999, 8000), (100, None), (0, 0), (7990, 9000)]
)
def test_a_part_of_a_blob_is_a_slice_of_it(blobs, start, end):
    blobs.store([CONTENT])
    assert b"".join(blobs.stream(SHA256, start, end)) == CONTENT[start:end]


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"expected_size": len(CONTENT) + 1}, r"8,000 bytes arrived where 8,001 were announced"),
        ({"expected_sha256": "0" * 64}, rf"have sha256 {SHA256}, announced was 0{{64}}"),
    ],
)
def test_bytes_that_are_not_those_announced_are_not_kept(blobs, expected, message):
    with pytest.raises(DigestMismatch, match=message):
        blobs.store([CONTENT], **expected)
    assert not blobs.exists(SHA256)


def test_a_draft_that_is_given_up_leaves_nothing(tmp_path):
    with FolderBlobs(tmp_path).draft() as draft:
        draft.write(CONTENT)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_missing_blob_is_an_error_before_the_first_byte(blobs):
    for read in (blobs.stream, blobs.open):
        with pytest.raises(BlobMissing, match=SHA256):
            read(SHA256)
    blobs.delete(SHA256)  # no error


def test_a_deleted_blob_is_gone(blobs):
    blobs.store([CONTENT])
    blobs.delete(SHA256)
    assert not blobs.exists(SHA256)


def test_the_git_id_is_gits(blobs, tmp_path):
    stored = blobs.store([CONTENT])
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    git = subprocess.run(
        ["git", "hash-object", str(path)], capture_output=True, text=True, check=True
    )
    assert stored.git_sha1 == git.stdout.strip()


def test_the_kind_of_file_is_recognised_from_pieces_of_any_size(blobs):
    header = (2).to_bytes(8, "little") + b"{}"
    assert blobs.store([header[i : i + 1] for i in range(len(header))]).seen == SAFETENSORS
    assert blobs.store([b""]).seen == TEXT


def test_parts_are_kept_until_they_are_dropped(blobs):
    for number, piece in ((1, b"a" * 10), (2, b"b" * 5)):
        with blobs.draft() as draft:
            draft.write(piece)
            assert draft.keep_part("up", number) == hashlib.sha256(piece).hexdigest()

    assert b"".join(blobs.read_part("up", 2)) == b"b" * 5
    with pytest.raises(BlobMissing, match="part 3"):
        blobs.read_part("up", 3)
    blobs.drop_parts("up")
    with pytest.raises(BlobMissing, match="part 1"):
        blobs.read_part("up", 1)


def test_a_large_blob_does_not_pass_through_memory(blobs, tmp_path):
    blobs = FolderBlobs(tmp_path)
    tracemalloc.start()
    stored = blobs.store(os.urandom(CHUNK) for _ in range(32))
    for _chunk in blobs.stream(stored.sha256):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * CHUNK


def test_a_folder_is_used_unless_a_bucket_is_named(tmp_path):
    assert isinstance(open_blobs(None, tmp_path), FolderBlobs)
    assert isinstance(open_blobs("memory:///", tmp_path), BucketBlobs)
