"""What the routes of one repository share: which adapter is meant, and who may change it."""

from typing import Annotated

from fastapi import Depends

from registry import accounts, revisions
from registry.models import Adapter
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
