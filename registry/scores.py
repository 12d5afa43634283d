"""What was measured, of one adapter's content or of a whole set-up.

Scores are never overwritten: a reporter who measures again adds a row, and the newest one counts.
The caller owns the transaction.
"""

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from registry import accounts, audit, names, revisions, setup, strictjson
from registry.errors import AdapterNotFound, InvalidName, InvalidScore, NotAllowed
from registry.models import (
    Account,
    Adapter,
    Manifest,
    Metric,
    Score,
    Setup,
    SetupPart,
    Version,
    now,
)
from registry.schemas import LockedSlot, MetricOut, ScoreIn, ScoreOut

Content = InstrumentedAttribute[str] | ColumnElement[str]

LONGEST_CONDITIONS = 4_096
"""Bytes of canonical JSON."""


def record(session: Session, body: ScoreIn, account: Account) -> Score:
    """Store a score, and the set-up it is about if it is new here.

    A score that repeats what its reporter said last is that score. Raises InvalidScore, which says
    what is wrong, also when the reporter may not see the subject.
    """
    metric = _metric(session, body.metric)
    _check_value(metric, body)
    score = Score(
        **_checked(body),
        subject=body.subject,
        value=body.value,
        n=body.n,
        stderr=body.stderr,
        source=body.source,
        reported_by_id=account.id,
    )
    _check_subject(session, body, account)
    last = _newest(_history(session, body.subject)).get(_key(score))
    if last is not None and last.retracted_at is None and _says_the_same(last, score):
        return last
    session.add(score)
    session.flush()
    audit.record(session, account, "score.record", body.subject, score=score.id)
    return score


def retract(session: Session, score: Score, account: Account, reason: str) -> None:
    """Take a score back. It stays in the history, and what it had replaced does not return."""
    if score.reported_by_id != account.id and not account.is_operator:
        raise NotAllowed("a score can be retracted by who reported it, or by an operator")
    if score.retracted_at is None:
        score.retracted_at = now()
        score.retraction_reason = reason
        audit.record(session, account, "score.retract", score.subject, score=score.id)


def metrics(session: Session) -> list[MetricOut]:
    rows = session.scalars(select(Metric).order_by(Metric.name))
    return [MetricOut.model_validate(row, from_attributes=True) for row in rows]


# --- reading -------------------------------------------------------------------------------------


def for_subject(session: Session, subject: str, viewer: Account | None) -> list[ScoreOut]:
    """Return the scores that count, of a content or a set-up that the viewer may see."""
    if not _is_visible(session, subject, viewer):
        return []
    return _out(session, _history(session, subject), viewer)


def for_adapter(
    session: Session, adapter: Adapter, viewer: Account | None = None
) -> list[ScoreOut]:
    """Return the scores of an adapter's contents, and those of set-ups that hold one of them.

    A set-up counts only if the viewer may see all its parts; those of this adapter may be seen by
    whoever has got hold of it.
    """
    own = select(Manifest.content).where(Manifest.adapter_id == adapter.id)
    hidden = exists().where(
        SetupPart.setup == Setup.digest,
        SetupPart.content.not_in(own),
        ~_visible(SetupPart.content, viewer),
    )
    holding = select(SetupPart.setup).where(SetupPart.content.in_(own))
    setups = select(Setup.digest).where(Setup.digest.in_(holding), ~hidden)
    query = select(Score).where(Score.subject.in_(own) | Score.subject.in_(setups))
    return _out(session, session.scalars(query.order_by(Score.id)).all(), viewer)


def out(session: Session, score: Score, viewer: Account | None) -> ScoreOut:
    """Shape one score for the wire."""
    return _shape(session, [score], viewer)[0]


def _history(session: Session, subject: str) -> Sequence[Score]:
    query = select(Score).where(Score.subject == subject).order_by(Score.id)
    return session.scalars(query).all()


def _newest(scores: Iterable[Score]) -> dict[Any, Score]:
    """Return the last of the scores for each thing measured; they come oldest first."""
    return {_key(score): score for score in scores}


def _key(score: Score) -> Any:
    """Return what two scores share when the later replaces the earlier."""
    conditions = strictjson.canonical(score.conditions)
    return (score.subject, *_place(score), conditions, score.reported_by_id)


def _out(session: Session, scores: Iterable[Score], viewer: Account | None) -> list[ScoreOut]:
    standing = [score for score in _newest(scores).values() if score.retracted_at is None]
    standing.sort(key=lambda score: score.id, reverse=True)
    standing.sort(key=_place)
    return _shape(session, standing, viewer)


def _place(score: Score) -> tuple[str, ...]:
    return (score.dataset, score.config or "", score.split, score.language or "", score.metric)


def _shape(session: Session, scores: Sequence[Score], viewer: Account | None) -> list[ScoreOut]:
    metric_rows = {row.name: row for row in session.scalars(select(Metric))}
    reporters = _names(session, {score.reported_by_id for score in scores})
    slots = _slots(session, {score.subject for score in scores}, viewer)
    return [
        ScoreOut(
            **{field: getattr(score, field) for field in _COPIED},
            slots=slots.get(score.subject, {}),
            higher_is_better=metric_rows[score.metric].higher_is_better,
            unit=metric_rows[score.metric].unit,
            reported_by=reporters[score.reported_by_id],
        )
        for score in scores
    ]


_COPIED = (
    *("id", "subject", "dataset", "config", "split", "language", "metric", "value", "n"),
    *("stderr", "conditions", "source", "reported_at"),
)


def _names(session: Session, ids: Collection[int]) -> dict[int, str]:
    rows = session.scalars(select(Account).where(Account.id.in_(ids)))
    return {row.id: row.name for row in rows}


def _slots(
    session: Session, subjects: Collection[str], viewer: Account | None
) -> dict[str, dict[str, str]]:
    """Return what fills the slots of those subjects that are set-ups.

    A recorded lock may name somebody's private copy of a public adapter; to those who may not see
    it, the part goes by its content.
    """
    rows = session.scalars(select(Setup).where(Setup.digest.in_(subjects))).all()
    refs = {part["ref"] for row in rows for part in row.lock["slots"].values()}
    called = {ref: names.parse_reference(ref).name for ref in refs}
    visible = set(
        session.scalars(
            select(Adapter.name).where(
                Adapter.name.in_(called.values()), accounts.visible_to(viewer)
            )
        )
    )
    return {
        row.digest: {
            slot: part["ref"] if called[part["ref"]] in visible else part["content"]
            for slot, part in sorted(row.lock["slots"].items())
        }
        for row in rows
    }


# --- checks --------------------------------------------------------------------------------------


def _metric(session: Session, name: str) -> Metric:
    if (metric := session.get(Metric, name)) is not None:
        return metric
    known = session.scalars(select(Metric.name).order_by(Metric.name)).all()
    alike = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=3)
    hint = f"did you mean {' or '.join(alike)}?" if alike else f"known are {', '.join(known)}"
    raise InvalidScore(f"there is no metric {name!r}; {hint}")


def _check_value(metric: Metric, body: ScoreIn) -> None:
    if not math.isfinite(body.value):
        raise InvalidScore(f"the value {body.value} is not a finite number")
    if body.stderr is not None and not math.isfinite(body.stderr):
        raise InvalidScore(f"the standard error {body.stderr} is not a finite number")
    below = metric.lower is not None and body.value < metric.lower
    above = metric.upper is not None and body.value > metric.upper
    if not (below or above):
        return
    hint = ""
    if metric.unit == "fraction" and 1 < body.value <= 100:
        hint = f"; if {body.value:g} is a percentage, write {body.value / 100:g}"
    raise InvalidScore(
        f"{body.value:g} is out of bounds: {metric.name} is a {metric.unit} {_bounds(metric)}{hint}"
    )


def _bounds(metric: Metric) -> str:
    if metric.lower is None or metric.upper is None:
        return (
            f"of at least {metric.lower:g}" if metric.upper is None else f"up to {metric.upper:g}"
        )
    return f"from {metric.lower:g} to {metric.upper:g}"


def _checked(body: ScoreIn) -> dict[str, Any]:
    """Return what was measured, and how, in standard form."""
    if body.source == "verified":
        raise InvalidScore("only an evaluation that the hub ran itself is 'verified'")
    fields: dict[str, Any] = {
        "dataset": _text("dataset", body.dataset, 200),
        "config": None if body.config is None else _text("config", body.config, 100),
        "split": _text("split", body.split, 64),
        "metric": body.metric,
        "conditions": body.conditions,
        "language": body.language,
    }
    try:
        if body.language is not None:
            fields["language"] = names.parse_language(body.language)
        size = len(strictjson.canonical(body.conditions))
    except (InvalidName, strictjson.StrictJsonError) as error:
        raise InvalidScore(str(error)) from error
    if size > LONGEST_CONDITIONS:
        raise InvalidScore(
            f"the conditions take {size:,} bytes; {LONGEST_CONDITIONS:,} are allowed"
        )
    return fields


def _text(field: str, value: str, longest: int) -> str:
    text = value.strip()
    if not text or len(text) > longest or not text.isprintable():
        raise InvalidScore(f"{field} must be 1 to {longest} printable characters, not {value!r}")
    return text


def _says_the_same(one: Score, other: Score) -> bool:
    fields = ("value", "n", "stderr", "source")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


# --- subjects ------------------------------------------------------------------------------------


def _visible(content: Content, viewer: Account | None) -> ColumnElement[bool]:
    """Return the condition that some adapter which the viewer may see has this content."""
    return exists().where(
        Manifest.content == content,
        Manifest.adapter_id == Adapter.id,
        accounts.visible_to(viewer),
    )


def _is_visible(session: Session, subject: str, viewer: Account | None) -> bool:
    """Whether the viewer may see a content, or every part of a recorded set-up."""
    parts = select(SetupPart.content).where(SetupPart.setup == subject)
    if session.scalar(parts.limit(1)) is None:
        return session.scalar(select(literal(1)).where(_visible(literal(subject), viewer))) == 1
    hidden = parts.where(~_visible(SetupPart.content, viewer)).limit(1)
    return session.scalar(hidden) is None


def _check_subject(session: Session, body: ScoreIn, account: Account) -> None:
    if body.lock is not None:
        _record_setup(session, body.subject, body.lock, account)
    elif not _is_visible(session, body.subject, account):
        raise InvalidScore(
            f"no adapter and no set-up here has the digest {body.subject}; to report a set-up for "
            "the first time, send its lock too"
        )


def _record_setup(
    session: Session, subject: str, document: Mapping[str, Any], account: Account
) -> None:
    """Store a set-up under its digest, once. Every part must be here, and be what it is called."""
    lock = setup.read_lock(document)
    if (digest := setup.setup_digest(lock)) != subject:
        raise InvalidScore(f"the lock has the set-up digest {digest}, not {subject}")
    for slot, part in lock.slots.items():
        if not _is_here(session, part, account):
            raise InvalidScore(
                f"slot {slot!r} of the lock is {part.ref} at the revision {part.revision} with the "
                f"content {part.content}; there is no such thing here"
            )
    stored = lock.model_dump(mode="json", by_alias=True)
    revisions.insert_new(session, Setup, digest=subject, lock=stored, recorded_at=now())
    for content in sorted({part.content for part in lock.slots.values()}):
        revisions.insert_new(session, SetupPart, setup=subject, content=content)


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
