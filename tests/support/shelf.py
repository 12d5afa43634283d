"""Adapters put straight into the registry, for tests of what is shown rather than of publishing."""

import io
import json

from sqlalchemy import select

from registry import accounts, revisions, search
from registry.models import Account, BaseModel, Manifest, Version
from registry.revisions import Add
from registry.schemas import ManifestDocument
from registry.versioning import Number
from tests.registry.manifests import digest, manifest, signature

CARD = """---
license: mit
pipeline_tag: token-classification
---
# {title}

{summary}

## Use

Load it with `hubctl pull`.
"""

BASE = {
    "name": "xlm-roberta-base",
    "revision": "0" * 40,
    "structure": digest("structure"),
    "body": digest("body"),
    "embeddings": digest("embeddings"),
    "tokenizer": digest("tokenizer"),
}


def owner(session, name):
    found = session.scalar(select(Account).where(Account.name == name))
    return found or accounts.create_user(session, name)


def add_adapter(
    session, blobs, name, *, card="", files=None, visibility="public", downloads=0, branch="main"
):
    """Create an adapter with one revision that holds these files, and index it."""
    account = owner(session, name.partition("/")[0])
    adapter = revisions.create_adapter(session, account, name, visibility)
    adapter.downloads = downloads
    content = {"README.md": card.encode(), **(files or {})}
    add_revision(session, blobs, adapter, content, branch=branch)
    search.index_adapter(session, adapter, card=card)
    return adapter


def add_revision(session, blobs, adapter, content, *, branch="main"):
    additions = []
    for path, data in content.items():
        stored = blobs.store(io.BytesIO(data))
        revisions.record_upload(session, adapter, stored)
        additions.append(Add(path, stored.sha256, large=path.endswith(".safetensors")))
    return revisions.commit(
        session, adapter, branch, additions, title="Upload", author=adapter.owner
    )


def add_version(session, adapter, number="1.0.0", *, state="live", successor=None, **changes):
    """Give the head of `main` a manifest and a number, and index the adapter."""
    revision = revisions.resolve_revision(session, adapter, "main")
    usual = {
        "base": BASE,
        "files": {
            file.path: {"sha256": file.sha256, "size": file.blob.size} for file in revision.files
        },
    }
    document: ManifestDocument = manifest(**(usual | changes))
    body = json.loads(document.model_dump_json(by_alias=True))
    content = digest(("content", adapter.name, number))
    if session.get(Manifest, (adapter.id, revision.id)) is None:
        session.add(
            Manifest(
                adapter_id=adapter.id,
                revision_id=revision.id,
                digest=digest(("manifest", adapter.name, number)),
                content=content,
                document=body,
            )
        )
        session.flush()
    parts = Number.parse(number)
    version = Version(
        adapter=adapter,
        number=number,
        major=parts.major,
        minor=parts.minor,
        patch=parts.patch,
        revision_id=revision.id,
        content=content,
        state=state,
        successor=successor,
        published_by=adapter.owner,
        kind=document.kind,
        method=document.method,
        language=document.signature.language,
        base_name=document.base.name,
        structure=document.base.structure,
    )
    session.add(version)
    session.flush()
    search.index_adapter(session, adapter)
    return version


def language_pack(tag, **changes):
    """Return what makes a manifest that of a language adapter."""
    return {
        "kind": "language",
        "method": "seq_bn",
        "signature": signature(slot="lang", language=tag, invertible="nice", rows=True),
        "requires": {},
        "setup": None,
        "head": None,
        "languages": [tag],
    } | changes


def fields(**changes):
    """Return the fields that a manifest takes from the front matter of a card."""
    return {"title": "", "summary": "", "licence": None, "tasks": [], "tags": []} | changes


def add_base(session, account):
    """Register the base that the adapters here stand on, by digests alone."""
    row = BaseModel(
        **BASE,
        model_type="xlm-roberta",
        config={"model_type": "xlm-roberta"},
        tensors={"a.weight": {"dtype": "float32", "shape": [1]}},
        registered_by_id=account.id,
    )
    session.add(row)
    session.flush()
    return row
