"""What becomes of a version after it was published.

    live         resolves
    deprecated   resolves with a warning, and names its successor if it has one
    yanked       resolves only where its very content is asked for; locks that pin it still load
    quarantined  withheld by an operator, who may give it back
    removed      withheld for good; its number stays taken

The row, its files and its scores stay; only the state moves, and each move is in the audit log.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import audit, names, reindex, revisions, search
from registry.blobs import BlobStore
from registry.errors import InvalidState, RevisionNotFound
from registry.models import Account, Adapter, Revision, Version
from registry.names import Exact, Latest
from registry.schemas import State

LONGEST_REASON = 500


def exact_version(session: Session, adapter: Adapter, number: str) -> Version:
    """Return the version of this very number, whatever became of it. Raises RevisionNotFound."""
    wanted = names.parse_selector(number)
    version = session.scalar(
        select(Version).where(Version.adapter_id == adapter.id, Version.number == str(wanted))
    )
    if version is None or not isinstance(wanted, Exact):
        raise RevisionNotFound(adapter.name, number)
    return version


def change(
    session: Session,
    blobs: BlobStore,
    version: Version,
    state: State,
    account: Account,
    *,
    successor: str | None = None,
    reason: str | None = None,
) -> None:
    """Move a version to a state; the caller has asked `accounts` whether the account may.

    `successor` is what to use instead of a deprecated or yanked version. Raises InvalidState for a
    move that does not exist, InvalidName, AdapterNotFound and RevisionNotFound for a successor that
    leads nowhere.
    """
    adapter = version.adapter
    revisions.lock(session, adapter)
    session.refresh(version)
    _check(version, state, account)
    before = version.state
    version.state = state
    version.successor = _successor(session, version, successor, account)
    version.state_reason = _reason(reason) if state != "live" else None
    session.flush()
    if state in revisions.WITHHELD:
        _withdraw_from_main(session, version)
    search.index_adapter(session, adapter, card=reindex.current_card(session, blobs, adapter))
    audit.record(
        session,
        account,
        f"version.{state}",
        f"{adapter.name}@{version.number}",
        before=before,
        successor=version.successor,
        reason=version.state_reason,
    )


def _check(version: Version, state: State, account: Account) -> None:
    ref = f"{version.adapter.name}@{version.number}"
    if version.state == "removed":
        raise InvalidState(f"{ref} was removed, and what was removed does not come back")
    if "quarantined" in (version.state, state) and not account.is_operator:
        raise InvalidState(f"only an operator of this hub quarantines {ref}, or gives it back")


def _successor(
    session: Session, version: Version, wanted: str | None, account: Account
) -> str | None:
    if wanted is None:
        return None
    if version.state not in ("deprecated", "yanked"):
        raise InvalidState(f"a {version.state} version needs no successor")
    reference = names.parse_reference(wanted)
    adapter = revisions.find_adapter(session, reference.name, account)
    if not isinstance(reference.selector, Latest):
        revisions.resolve_revision(session, adapter, str(reference.selector))
    if str(reference) == f"{version.adapter.name}@{version.number}":
        raise InvalidState(f"{reference} cannot be its own successor")
    return f"{adapter.name}@{reference.selector}" if "@" in str(reference) else adapter.name


def _reason(text: str | None) -> str | None:
    words = " ".join((text or "").split())
    if len(words) > LONGEST_REASON:
        raise InvalidState(f"the reason has {len(words)} characters; {LONGEST_REASON} are allowed")
    return words or None


def _withdraw_from_main(session: Session, version: Version) -> None:
    """Let `main` stand for the newest version left, or for the empty beginning without one."""
    adapter = version.adapter
    head = revisions.branch_head(session, adapter, revisions.MAIN)
    if head is None or head.id != version.revision_id:
        return
    newest = search.newest_version(session, adapter.id)
    start = select(Revision.id).where(
        Revision.adapter_id == adapter.id, Revision.parent_id.is_(None)
    )
    target = newest.revision_id if newest is not None else session.scalar(start)
    revision = session.get_one(Revision, (adapter.id, target))
    revisions.point(session, adapter, "branch", revisions.MAIN, revision)
