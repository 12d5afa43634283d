"""What scores are of: a content, a recorded set-up, or something external; and who may see it."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from registry import accounts, db, names, revisions, setup, strictjson
from registry.errors import AdapterNotFound, InvalidScore
from registry.models import Account, Adapter, External, Manifest, Setup, SetupPart, Version
from registry.revisions import WITHHELD
from registry.schemas import ExternalSubject, LockedSlot, ScoreIn
from registry.tables import now

Content = InstrumentedAttribute[str] | ColumnElement[str]


# --- who sees what -------------------------------------------------------------------------------


def visible_content(content: Content, viewer: Account | None) -> ColumnElement[bool]:
    """Return the condition that some adapter which the viewer may see has this content."""
    return exists().where(
        Manifest.content == content,
        Manifest.adapter_id == Adapter.id,
        accounts.visible_to(viewer),
    )


def visible(subject: Content, viewer: Account | None) -> ColumnElement[bool]:
    """Return the condition that the viewer may see a subject: of a set-up, every part."""
    part = aliased(SetupPart)
    hidden = exists().where(part.setup == subject, ~visible_content(part.content, viewer))
    recorded = exists().where(Setup.digest == subject)
    external = exists().where(
        External.digest == subject,
        or_(
            External.adapter_id.is_(None),
            exists().where(Adapter.id == External.adapter_id, accounts.visible_to(viewer)),
        ),
    )
    return or_(visible_content(subject, viewer), and_(recorded, ~hidden), external)


def is_visible(session: Session, subject: str, viewer: Account | None) -> bool:
    return session.scalar(select(literal(1)).where(visible(literal(subject), viewer))) == 1


def of_adapter(adapter: Adapter, subject: Content, viewer: Account | None) -> ColumnElement[bool]:
    """Return the condition that a subject is of an adapter, or a set-up that holds one of its own.

    A set-up counts only if the viewer may see all its parts; those of this adapter may be seen by
    whoever has got hold of it.
    """
    own = select(Manifest.content).where(Manifest.adapter_id == adapter.id)
    hidden = exists().where(
        SetupPart.setup == Setup.digest,
        SetupPart.content.not_in(own),
        ~visible_content(SetupPart.content, viewer),
    )
    holding = select(SetupPart.setup).where(SetupPart.content.in_(own))
    setups = select(Setup.digest).where(Setup.digest.in_(holding), ~hidden)
    external = select(External.digest).where(External.adapter_id == adapter.id)
    return or_(subject.in_(own), subject.in_(setups), subject.in_(external))


# --- what they are called ------------------------------------------------------------------------


def refs(session: Session, subjects: Collection[str], viewer: Account | None) -> dict[str, str]:
    """Return for contents the reference of a version that has it: the newest the viewer may see."""
    rows = session.execute(
        select(Version.content, Adapter.name, Version.number)
        .join(Adapter, Adapter.id == Version.adapter_id)
        .where(
            Version.content.in_(subjects),
            Version.state.not_in(WITHHELD),
            accounts.visible_to(viewer),
        )
        .order_by(Adapter.id.desc(), Version.major, Version.minor, Version.patch)
    )
    # The last one counts: of the oldest adapter with this content the newest version.
    return {content: f"{name}@{number}" for content, name, number in rows}


def externals(session: Session, subjects: Collection[str]) -> dict[str, ExternalSubject]:
    rows = session.scalars(select(External).where(External.digest.in_(subjects)))
    return {row.digest: ExternalSubject.model_validate(row.document) for row in rows}


def slots(
    session: Session, subjects: Collection[str], viewer: Account | None
) -> dict[str, dict[str, str]]:
    """Return what fills the slots of those subjects that are set-ups.

    A recorded lock may name somebody's private copy of a public adapter; to those who may not see
    it, the part goes by its content.
    """
    rows = session.scalars(select(Setup).where(Setup.digest.in_(subjects))).all()
    named = {part["ref"] for row in rows for part in row.lock["slots"].values()}
    called = {ref: names.parse_reference(ref).name for ref in named}
    shown = set(
        session.scalars(
            select(Adapter.name).where(
                Adapter.name.in_(called.values()), accounts.visible_to(viewer)
            )
        )
    )
    return {
        row.digest: {
            slot: part["ref"] if called[part["ref"]] in shown else part["content"]
            for slot, part in sorted(row.lock["slots"].items())
        }
        for row in rows
    }


# --- recording -----------------------------------------------------------------------------------


def check(session: Session, body: ScoreIn, account: Account) -> None:
    """Record the subject if it comes with the score; else it must be here, for this account.

    Raises InvalidScore.
    """
    if body.external is not None:
        if body.source != "imported":
            raise InvalidScore(
                "what is measured of an external subject is 'imported': its weights are not here, "
                "so nobody can measure them again"
            )
        _check_digest("external subject", external_digest(body.external), body.subject)
        record_external(session, body.external)
    elif body.lock is not None:
        _record_setup(session, body.subject, body.lock, account)
    elif not is_visible(session, body.subject, account):
        raise InvalidScore(
            f"no adapter and no set-up here has the digest {body.subject}; to report a set-up for "
            "the first time, send its lock too"
        )


def external_digest(subject: ExternalSubject) -> str:
    """Return the digest under which scores of an external subject are kept.

    Where it is described does not count: pages move.
    """
    return strictjson.digest(subject.model_dump(mode="json", by_alias=True, exclude={"url"}))


def record_external(
    session: Session, subject: ExternalSubject, adapter: Adapter | None = None
) -> str:
    """Store an external subject, once, and return its digest."""
    digest = external_digest(subject)
    db.insert_new(
        session,
        External,
        digest=digest,
        adapter_id=None if adapter is None else adapter.id,
        document=subject.model_dump(mode="json", by_alias=True),
        recorded_at=now(),
    )
    return digest


def _record_setup(
    session: Session, subject: str, document: Mapping[str, Any], account: Account
) -> None:
    """Store a set-up under its digest, once. Every part must be here, and be what it is called."""
    lock = setup.read_lock(document)
    _check_digest("lock", setup.setup_digest(lock), subject)
    for slot, part in lock.slots.items():
        if not _is_here(session, part, account):
            raise InvalidScore(
                f"slot {slot!r} of the lock is {part.ref} at the revision {part.revision} with the "
                f"content {part.content}; there is no such thing here"
            )
    stored = lock.model_dump(mode="json", by_alias=True)
    db.insert_new(session, Setup, digest=subject, lock=stored, recorded_at=now())
    for content in sorted({part.content for part in lock.slots.values()}):
        db.insert_new(session, SetupPart, setup=subject, content=content)


def _check_digest(what: str, digest: str, subject: str) -> None:
    if digest != subject:
        kind = "set-up digest" if what == "lock" else "digest"
        raise InvalidScore(f"the {what} has the {kind} {digest}, not {subject}")


def _is_here(session: Session, part: LockedSlot, account: Account) -> bool:
    reference = names.parse_reference(part.ref)
    try:
        adapter = revisions.find_adapter(session, reference.name, account)
    except AdapterNotFound:
        return False
    manifest = session.get(Manifest, (adapter.id, part.revision))
    if manifest is None or manifest.content != part.content:
        return False
    if not isinstance(reference.selector, names.Exact):
        return str(reference.selector) == part.revision
    numbered = select(Version.revision_id).where(
        Version.adapter_id == adapter.id, Version.number == reference.selector.number
    )
    return session.scalar(numbered) == part.revision
