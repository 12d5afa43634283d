"""The registry's rows in the words of the Hub protocol."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from registry.frontmatter import Card
from registry.listing import Listed, base_of
from registry.models import Adapter, Ref, Revision, RevisionFile

POINTER_SIZE = 134
"""What git-lfs would store in place of a large file; clients only show it."""


def instant(moment: datetime) -> str:
    """Return a time as clients parse it: with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def adapter_info(listed: Listed, card: Card | None, *, sizes: bool) -> dict[str, Any]:
    """Return what a client's `model_info` reads."""
    adapter, revision = listed.adapter, listed.revision
    files = revision.files if revision is not None else []
    tags = [*listed.tags, *_card_tags(card)]
    return {
        **_summary(adapter, revision),
        "tags": list(dict.fromkeys(tags)),
        "pipeline_tag": _text(card, "pipeline_tag"),
        "library_name": _text(card, "library_name") or next(iter(listed.tags), None),
        "siblings": [sibling(file, sizes=sizes) for file in files],
        "cardData": _jsonable(card.metadata) if card is not None else {},
        "model-index": _jsonable(card.metadata.get("model-index")) if card is not None else None,
        "config": _config(listed),
        "usedStorage": sum(file.blob.size for file in files),
    }


def _summary(adapter: Adapter, revision: Revision | None) -> dict[str, Any]:
    return {
        "_id": str(adapter.id),
        "id": adapter.name,
        "modelId": adapter.name,
        "author": adapter.name.partition("/")[0],
        "sha": revision.id if revision is not None else None,
        "lastModified": instant(adapter.updated_at),
        "createdAt": instant(adapter.created_at),
        "private": adapter.visibility == "private",
        "gated": False,
        "disabled": False,
        "downloads": adapter.downloads,
        "likes": 0,
    }


def _config(listed: Listed) -> dict[str, Any]:
    """The base model's name, where `adapters` (two spellings) and PEFT look for it."""
    base = base_of(listed)
    if base is None:
        return {}
    if "peft" in listed.tags:
        return {"peft": {"base_model_name_or_path": base}}
    return {"adapters": {"model_name": base}, "adapter_transformers": {"model_name": base}}


def sibling(file: RevisionFile, *, sizes: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"rfilename": file.path}
    if sizes:
        item |= {"size": file.blob.size, "blobId": file.blob.git_sha1}
        if file.large:
            item["lfs"] = {
                "sha256": file.sha256,
                "size": file.blob.size,
                "pointerSize": POINTER_SIZE,
            }
    return item


def file_item(file: RevisionFile, last: Revision | None) -> dict[str, Any]:
    """Return a file of a tree. Never with `xetHash`: clients would then ask for a Xet server."""
    item: dict[str, Any] = {
        "type": "file",
        "oid": file.blob.git_sha1,
        "size": file.blob.size,
        "path": file.path,
    }
    if file.large:
        item["lfs"] = {"oid": file.sha256, "size": file.blob.size, "pointerSize": POINTER_SIZE}
    return _with_last(item, last)


def folder_item(path: str, oid: str, last: Revision | None) -> dict[str, Any]:
    return _with_last({"type": "directory", "oid": oid, "size": 0, "path": path}, last)


def _with_last(item: dict[str, Any], last: Revision | None) -> dict[str, Any]:
    if last is not None:
        item["lastCommit"] = {
            "id": last.id,
            "title": last.title,
            "date": instant(last.created_at),
        }
    return item


def commit_item(revision: Revision) -> dict[str, Any]:
    return {
        "id": revision.id,
        "title": revision.title,
        "message": revision.message,
        "date": instant(revision.created_at),
        "authors": [{"user": revision.author.name}],
    }


def ref_items(refs: Iterable[Ref]) -> list[dict[str, str]]:
    folders = {"branch": "heads", "tag": "tags"}
    return [
        {
            "name": ref.name,
            "ref": f"refs/{folders[ref.kind]}/{ref.name}",
            "targetCommit": ref.revision_id,
        }
        for ref in refs
    ]


def _card_tags(card: Card | None) -> list[str]:
    if card is None:
        return []
    prefixed = {"license": "license:", "datasets": "dataset:", "base_model": "base_model:"}
    tags = [prefix + word for key, prefix in prefixed.items() for word in card.words(key)]
    plain = ("tags", "language", "pipeline_tag", "library_name")
    return tags + [word for key in plain for word in card.words(key)]


def _text(card: Card | None, key: str) -> str | None:
    return next(iter(card.words(key)), None) if card is not None else None


def _jsonable(value: object) -> Any:
    """Return YAML values as JSON can hold them: dates as text, no infinities."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date):  # also datetime
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
