"""Bytes by their sha256. What `keep` returned is durable; nothing else is ever visible.

A blob is first written to a draft: a temporary file that is hashed as it grows. Only when its size
and digest are those announced does it get its final name, so that a cut upload leaves nothing.

    sha256/ab/abcdef...      a blob
    parts/<upload>/00001     a part of an upload that is not complete yet
    drafts/...               what is being written (in a folder only)
    quarantine/abcdef...     bytes that were found not to be what their name says
"""

from pathlib import Path

from obstore.store import from_url

from registry.blobs.bucket import BucketBlobs
from registry.blobs.folder import FolderBlobs
from registry.blobs.store import CHUNK, BlobStore, Draft, Entry, Source, StoredBlob, told

__all__ = [
    "CHUNK",
    "BlobStore",
    "BucketBlobs",
    "Draft",
    "Entry",
    "FolderBlobs",
    "Source",
    "StoredBlob",
    "open_blobs",
    "told",
]


def open_blobs(url: str | None, folder: Path) -> BlobStore:
    """Open the store at a bucket's URL, or without one in a folder."""
    return FolderBlobs(folder) if url is None else BucketBlobs(from_url(url))
