"""Adapters as Hub clients see them: repositories of immutable revisions, branches and tags.

The caller owns the transaction and has asked `accounts` whether the account may do this.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from registry import accounts, audit, db, external, names, strictjson
from registry.acceptance import Limits, check_file, check_path, check_tree
from registry.blobs import StoredBlob
from registry.errors import (
    AdapterNotFound,
    BlobMissing,
    FileNotInRevision,
    NameTaken,
    NotAllowed,
    RevisionNotFound,
    StaleParent,
    UploadRefused,
)
from registry.models import (
    Account,
    Adapter,
    AdapterName,
    Blob,
    Ref,
    Revision,
    RevisionFile,
    Upload,
    Version,
)
from registry.tables import now

MAIN = "main"
INCOMING = "incoming/"
"""Prefix of the branches on which `hubctl push` collects a clean tree before it is published."""
NOTHING = "0" * 40
"""Stands for the revision before the first, as in git."""
WITHHELD = ("quarantined", "removed")

_REF = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,98}[A-Za-z0-9_-])?")
_REVISION_ID = re.compile(r"[0-9a-f]{40}")
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")


@dataclass(frozen=True)
class Add:
    """Put a blob at a path. `large` files are served with their sha256 as ETag."""

    path: str
    sha256: str
    large: bool = False


@dataclass(frozen=True)
class Delete:
    path: str


@dataclass(frozen=True)
class DeleteFolder:
    path: str


Operation = Add | Delete | DeleteFolder


@dataclass(frozen=True)
class _Entry:
    sha256: str
    large: bool


Tree = dict[str, _Entry]


# --- adapters ------------------------------------------------------------------------------------


def create_adapter(
    session: Session, account: Account, name: str, visibility: str = "public"
) -> Adapter:
    """Create an adapter with an empty first revision on `main`, under an owner that exists.

    Raises InvalidName, AdapterNotFound without such an owner, NameTaken.
    """
    name = names.parse_name(name)
    owner = accounts.find(session, name.partition("/")[0])
    if owner is None:
        raise AdapterNotFound(name)
    adapter = Adapter(owner=owner, name=name, visibility=visibility)
    try:
        with session.begin_nested():
            session.add(adapter)
            session.flush()
            session.add(AdapterName(name=name, adapter_id=adapter.id))
    except IntegrityError as error:
        if session.get(AdapterName, name) is None:
            raise
        raise NameTaken(name) from error
    revision = _new_revision(
        session, adapter, {}, parent=None, author=account, title="initial commit"
    )
    point(session, adapter, "branch", MAIN, revision)
    audit.record(session, account, "adapter.create", name, visibility=visibility)
    return adapter


def find_adapter(session: Session, name: str, viewer: Account | None) -> Adapter:
    """Return the adapter of this present or former name.

    Raises AdapterNotFound if there is none, or none that the viewer may know of.
    """
    adapter = session.scalar(
        select(Adapter)
        .join(AdapterName, AdapterName.adapter_id == Adapter.id)
        .where(AdapterName.name == name.lower(), accounts.visible_to(viewer))
    )
    if adapter is None:
        raise AdapterNotFound(name)
    return adapter


def rename(session: Session, adapter: Adapter, new_name: str, account: Account) -> None:
    """Give an adapter another name; the old one leads to it for ever. Raises NameTaken."""
    new_name = names.parse_name(new_name)
    owner = accounts.find(session, new_name.partition("/")[0])
    if owner is None:
        raise AdapterNotFound(new_name)
    db.insert_new(session, AdapterName, name=new_name, adapter_id=adapter.id)
    holder = session.get_one(AdapterName, new_name)
    if holder.adapter_id != adapter.id:
        raise NameTaken(new_name)
    audit.record(session, account, "adapter.rename", adapter.name, to=new_name)
    adapter.name, adapter.owner, adapter.updated_at = new_name, owner, now()


def set_visibility(session: Session, adapter: Adapter, visibility: str, account: Account) -> None:
    audit.record(session, account, "adapter.visibility", adapter.name, to=visibility)
    adapter.visibility = visibility


def remove(session: Session, adapter: Adapter, account: Account) -> None:
    """Hide an adapter for good. Its names stay taken, so no old reference gets a new meaning."""
    adapter.removed_at = now()
    audit.record(session, account, "adapter.remove", adapter.name)


# --- uploads -------------------------------------------------------------------------------------


def record_upload(session: Session, adapter: Adapter, blob: StoredBlob) -> None:
    """Note that these bytes, which nothing can clear away, were sent to this adapter."""
    record_blob(session, blob)
    db.insert_new(session, Upload, adapter_id=adapter.id, sha256=blob.sha256, uploaded_at=now())


def record_blob(session: Session, blob: StoredBlob) -> None:
    """Note that these bytes are durable, and came or came again just now."""
    row = db.insert(session, Blob).values(
        sha256=blob.sha256,
        size=blob.size,
        git_sha1=blob.git_sha1,
        seen=blob.seen,
        stored_at=now(),
    )
    again = {"stored_at": row.excluded.stored_at}
    session.execute(row.on_conflict_do_update(index_elements=[Blob.sha256], set_=again))


def may_attach(session: Session, adapter: Adapter, sha256: str, viewer: Account | None) -> bool:
    """Whether these bytes were sent to this adapter, or lie where the viewer can read them."""
    if session.get(Upload, (adapter.id, sha256)) is not None:
        return True
    readable = (
        select(RevisionFile.path)
        .join(Adapter, Adapter.id == RevisionFile.adapter_id)
        .where(RevisionFile.sha256 == sha256, accounts.visible_to(viewer))
    )
    return session.scalar(readable.limit(1)) is not None


# --- commits -------------------------------------------------------------------------------------


def commit(
    session: Session,
    adapter: Adapter,
    branch: str,
    operations: Iterable[Operation],
    *,
    title: str,
    message: str = "",
    author: Account,
    parent: str | None = None,
    limits: Limits | None = None,
) -> Revision:
    """Apply operations to a branch and return its new revision.

    A branch `incoming/<id>` that does not exist is made, with a tree that is empty but for the
    files added. Without a change the branch's present revision is returned. `parent` is the
    revision the caller believes the branch to be at, whole or abbreviated.

    Raises RevisionNotFound, StaleParent, BlobMissing, UploadRefused.
    """
    external.check_here(adapter)
    lock(session, adapter)
    head = branch_head(session, adapter, branch)
    fresh = head is None and branch.startswith(INCOMING)
    if head is None and not fresh:
        raise RevisionNotFound(adapter.name, branch)
    check_ref_name(branch)
    if head is not None and parent is not None and not head.id.startswith(parent.lower()):
        raise StaleParent(
            f"{adapter.name} {branch} is at {head.id}, not at {parent}; fetch it and try again"
        )
    tree = _apply(session, adapter, head, operations, author=author, limits=limits or Limits())
    if head is not None and tree == tree_of(head):
        return head
    previous = head or branch_head(session, adapter, MAIN)
    revision = _new_revision(
        session, adapter, tree, parent=previous, author=author, title=title, message=message
    )
    point(session, adapter, "branch", branch, revision)
    audit.record(
        session, author, "revision.commit", adapter.name, branch=branch, revision=revision.id
    )
    if not branch.startswith(INCOMING):
        adapter.updated_at = revision.created_at
    return revision


def lock(session: Session, adapter: Adapter) -> None:
    """Make other writers of this adapter wait until the transaction ends."""
    # Not the strongest lock: rows that refer to the adapter, inserted before, hold a share of its
    # key, and two transactions that both waited for the other's share would be a deadlock.
    row = select(Adapter.id).where(Adapter.id == adapter.id)
    session.execute(row.with_for_update(key_share=True))


def files(revision: Revision) -> list[RevisionFile]:
    """Return the files of a revision, by path."""
    return revision.files


def find_file(adapter: Adapter, revision: Revision, path: str) -> RevisionFile:
    """Raises FileNotInRevision."""
    found = next((file for file in revision.files if file.path == path), None)
    if found is None:
        raise FileNotInRevision(adapter.name, revision.id, path)
    return found


def _apply(
    session: Session,
    adapter: Adapter,
    head: Revision | None,
    operations: Iterable[Operation],
    *,
    author: Account,
    limits: Limits,
) -> Tree:
    tree = tree_of(head)
    added: dict[str, Add] = {}
    for operation in operations:
        check_path(operation.path)
        if isinstance(operation, Add):
            added[operation.path] = operation
            tree[operation.path] = _Entry(operation.sha256, operation.large)
        elif isinstance(operation, Delete):
            if tree.pop(operation.path, None) is None:
                at = head.id if head is not None else NOTHING
                raise FileNotInRevision(adapter.name, at, operation.path)
        else:
            prefix = operation.path + "/"
            tree = {path: entry for path, entry in tree.items() if not path.startswith(prefix)}
    blobs = _blobs(session, {entry.sha256 for entry in tree.values()})
    for add in added.values():
        blob = blobs.get(add.sha256)
        _check_addition(session, adapter, add, blob, author=author, limits=limits)
    check_tree({path: blobs[entry.sha256].size for path, entry in tree.items()}, limits)
    return tree


def _check_addition(
    session: Session,
    adapter: Adapter,
    add: Add,
    blob: Blob | None,
    *,
    author: Account,
    limits: Limits,
) -> None:
    # A blob that exists but was not sent here looks missing: else one could probe for content.
    if blob is None or not may_attach(session, adapter, add.sha256, author):
        raise BlobMissing(f"the bytes of {add.path} ({add.sha256}) were not uploaded; upload them")
    check_file(add.path, blob.size, blob.seen, limits)


def _blobs(session: Session, digests: set[str]) -> dict[str, Blob]:
    # Held until the commit refers to them, for garbage collection may be about to take one.
    rows = select(Blob).where(Blob.sha256.in_(digests)).order_by(Blob.sha256)
    held = session.scalars(rows.with_for_update(read=True, key_share=True))
    return {blob.sha256: blob for blob in held}


def tree_of(revision: Revision | None) -> Tree:
    """Return the paths of a revision; before the first there were none."""
    if revision is None:
        return {}
    return {file.path: _Entry(file.sha256, file.large) for file in revision.files}


def _new_revision(
    session: Session,
    adapter: Adapter,
    tree: Tree,
    *,
    parent: Revision | None,
    author: Account,
    title: str,
    message: str = "",
) -> Revision:
    created_at, parent_id = now(), parent.id if parent is not None else None
    tree_digest = _digest({path: entry.sha256 for path, entry in tree.items()})
    identity = {
        "tree": tree_digest,
        "parent": parent_id,
        "message": f"{title}\n\n{message}",
        "author": author.name,
        "time": created_at.isoformat(),
    }
    revision = Revision(
        adapter_id=adapter.id,
        id=_digest(identity)[:40],
        parent_id=parent_id,
        tree_digest=tree_digest,
        title=title,
        message=message,
        author=author,
        created_at=created_at,
    )
    session.add(revision)
    session.flush()
    rows = [
        {
            "adapter_id": adapter.id,
            "revision_id": revision.id,
            "path": path,
            "sha256": entry.sha256,
            "large": entry.large,
        }
        for path, entry in sorted(tree.items())
    ]
    if rows:
        session.execute(insert(RevisionFile), rows)
    return revision


def _digest(value: Mapping[str, object]) -> str:
    return hashlib.sha256(strictjson.canonical(value)).hexdigest()


# --- branches and tags ---------------------------------------------------------------------------


def resolve_revision(session: Session, adapter: Adapter, text: str) -> Revision:
    """Return what a branch, tag, version number (with or without `v`) or revision id stands for.

    Raises RevisionNotFound; also for what is quarantined or removed. Raises ExternalOnly.
    """
    external.check_here(adapter)
    revision_id = _revision_id(session, adapter, text)
    revision = None
    if revision_id is not None and not _is_withheld(session, adapter, revision_id):
        revision = session.get(Revision, (adapter.id, revision_id))
    if revision is None:
        raise RevisionNotFound(adapter.name, text)
    return revision


def branch_head(session: Session, adapter: Adapter, branch: str) -> Revision | None:
    ref = session.get(Ref, (adapter.id, branch))
    if ref is None or ref.kind != "branch":
        return None
    return session.get_one(Revision, (adapter.id, ref.revision_id))


def refs(session: Session, adapter: Adapter, kind: str) -> Sequence[Ref]:
    """Return the branches or the tags by name; not those on which a push is being collected."""
    return session.scalars(
        select(Ref)
        .where(Ref.adapter_id == adapter.id, Ref.kind == kind, ~Ref.name.startswith(INCOMING))
        .order_by(Ref.name)
    ).all()


def branch(
    session: Session, adapter: Adapter, name: str, start: Revision, account: Account
) -> None:
    """Create a branch. Raises NameTaken, UploadRefused for a name that cannot be one."""
    _create_ref(session, adapter, "branch", name, start, account)


def tag(
    session: Session, adapter: Adapter, name: str, revision: Revision, account: Account
) -> None:
    """Create a tag that is no version number; those are made by publishing only.

    Raises NameTaken, UploadRefused for a name that cannot be one.
    """
    if version_number(name) is not None:
        raise UploadRefused(f"{name} is a version number: publish it instead of tagging")
    _create_ref(session, adapter, "tag", name, revision, account)


def remove_ref(session: Session, adapter: Adapter, kind: str, name: str, account: Account) -> None:
    """Raises RevisionNotFound, NotAllowed for `main` and for tags that stand for versions."""
    number = version_number(name)
    ref = session.get(Ref, (adapter.id, number or name))
    if ref is None or ref.kind != kind:
        raise RevisionNotFound(adapter.name, name)
    if name == MAIN:
        raise NotAllowed("the branch main cannot be removed")
    if kind == "tag" and number is not None:
        raise NotAllowed(f"{name} is a published version: version tags never move or go")
    audit.record(
        session, account, f"{kind}.remove", adapter.name, name=name, revision=ref.revision_id
    )
    session.delete(ref)
    session.flush()


def point(session: Session, adapter: Adapter, kind: str, name: str, revision: Revision) -> None:
    """Let a branch or tag stand for a revision, wherever it stood before."""
    session.merge(Ref(adapter_id=adapter.id, name=name, kind=kind, revision_id=revision.id))
    session.flush()


def version_number(text: str) -> str | None:
    """Return `1.2.0` for `1.2.0` and `v1.2.0`, and None for anything else."""
    match = _VERSION.fullmatch(text)
    return match[1] if match else None


def check_ref_name(name: str) -> None:
    if not _REF.fullmatch(name) or ".." in name or "//" in name or _REVISION_ID.fullmatch(name):
        raise UploadRefused(
            f"{name!r} cannot name a branch or tag: use up to 100 letters, digits, '.', '_', '-' "
            "and '/', beginning with a letter or digit, and not a revision id"
        )


def _create_ref(
    session: Session,
    adapter: Adapter,
    kind: str,
    name: str,
    revision: Revision,
    account: Account,
) -> None:
    check_ref_name(name)
    lock(session, adapter)
    if session.get(Ref, (adapter.id, name)) is not None:
        raise NameTaken(name)
    point(session, adapter, kind, name, revision)
    audit.record(session, account, f"{kind}.create", adapter.name, name=name, revision=revision.id)


def _revision_id(session: Session, adapter: Adapter, text: str) -> str | None:
    name = text.removeprefix("refs/heads/").removeprefix("refs/tags/")
    if (ref := session.get(Ref, (adapter.id, name))) is not None:
        return ref.revision_id
    if (number := version_number(name)) is not None:
        return session.scalar(
            select(Version.revision_id).where(
                Version.adapter_id == adapter.id, Version.number == number
            )
        )
    return name if _REVISION_ID.fullmatch(name) else None


def _is_withheld(session: Session, adapter: Adapter, revision_id: str) -> bool:
    withheld = select(func.count()).where(
        Version.adapter_id == adapter.id,
        Version.revision_id == revision_id,
        Version.state.in_(WITHHELD),
    )
    return bool(session.scalar(withheld))
