"""What the routes of one repository share: which adapter is meant, who may change it, its card."""

from typing import Annotated

from fastapi import Depends

from registry import accounts, frontmatter, revisions
from registry.blobs import BlobStore
from registry.models import Adapter, Revision
from web.deps import DatabaseSession, OptionalCaller, viewer_of


def visible_adapter(
    owner: str, name: str, session: DatabaseSession, caller: OptionalCaller
) -> Adapter:
    return revisions.find_adapter(session, f"{owner}/{name}", viewer_of(caller))


VisibleAdapter = Annotated[Adapter, Depends(visible_adapter)]


def writable_adapter(
    adapter: VisibleAdapter, session: DatabaseSession, caller: OptionalCaller
) -> Adapter:
    accounts.require(session, caller, adapter, "write")
    return adapter


def administered_adapter(
    adapter: VisibleAdapter, session: DatabaseSession, caller: OptionalCaller
) -> Adapter:
    accounts.require(session, caller, adapter, "admin")
    return adapter


WritableAdapter = Annotated[Adapter, Depends(writable_adapter)]
AdministeredAdapter = Annotated[Adapter, Depends(administered_adapter)]

CARD = "README.md"
LARGEST_CARD = 1 << 20


def card_text(blobs: BlobStore, revision: Revision) -> str:
    """Return the card, or nothing when there is none of a sensible size."""
    file = next((file for file in revision.files if file.path == CARD), None)
    if file is None or file.blob.size > LARGEST_CARD:
        return ""
    return blobs.read(file.sha256).decode(errors="replace")


def card_of(blobs: BlobStore, revision: Revision) -> frontmatter.Card:
    return frontmatter.split(card_text(blobs, revision))
