"""What the routes of one repository share: which adapter is meant, who may change it, its card."""

from typing import Annotated

from fastapi import Depends

from registry import accounts, frontmatter, revisions
from registry.blobs import BlobStore
from registry.models import Adapter, Revision
from registry.reindex import card_text
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


def card_of(blobs: BlobStore, revision: Revision) -> frontmatter.Card:
    return frontmatter.split(card_text(blobs, revision))
