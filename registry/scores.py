"""What was measured, of one adapter's content, of a whole set-up, or elsewhere.

Scores are never overwritten: a reporter who measures again adds a row that says which one it
replaces, and what is retracted stays in the history. The caller owns the transaction.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import accounts, audit, evaluators, names, records, score_subjects, strictjson
from registry.errors import InvalidName, InvalidScore, NotAllowed, ScoreExists
from registry.models import Account, Adapter, EvaluatorKey, Metric, Score
from registry.schemas import ScoreIn, ScoreOut
from registry.tables import now

LONGEST_CONDITIONS = 4_096
"""Bytes of canonical JSON."""


def record(session: Session, body: ScoreIn, account: Account, *, replace: bool = False) -> Score:
    """Store a score, and its subject if that is new here.

    A score that repeats what its reporter said last is that score. `replace`: it supersedes
    whatever the reporter said before.

    Raises InvalidScore, which says what is wrong, also when the reporter may not see the subject;
    ScoreExists when it contradicts the reporter's last word and does not say that it replaces it.
    """
    metric = records.metric(session, body.metric)
    check_value(metric, body.value, body.stderr)
    score = Score(
        **_checked(session, body),
        metric=metric.name,
        reported_by_id=account.id,
    )
    if body.verification is not None:
        evaluators.check(session, score, body.verification, account)
        score.evaluator_key = body.verification.key
        score.evidence = body.verification.evidence.removeprefix("sha256:")
        score.signature = body.verification.signature
    score_subjects.check(session, body, account)
    accounts.lock(session, account)  # two reports of one account come one after the other
    last = _newest(_history(session, body.subject)).get(_key(score))
    if last is not None and last.retracted_at is None and _says_the_same(last, score):
        return last
    score.supersedes_id = _superseded(last, body, replace=replace)
    session.add(score)
    session.flush()
    audit.record(session, account, "score.record", body.subject, score=score.id)
    return score


def _superseded(last: Score | None, body: ScoreIn, *, replace: bool) -> int | None:
    """Return which score the new one replaces."""
    if last is None or last.retracted_at is not None:
        if body.supersedes not in (None, last.id if last is not None else None):
            raise InvalidScore(
                f"score {body.supersedes} is not your last word at these conditions; "
                "nothing is to be superseded"
            )
        return None
    if not replace and body.supersedes != last.id:
        raise ScoreExists(last.id, last.value)
    return last.id


def find(session: Session, number: int, viewer: Account | None) -> Score:
    """Return a score whose subject the viewer may see. Raises InvalidScore."""
    shown = score_subjects.visible(Score.subject, viewer)
    score = session.scalar(select(Score).where(Score.id == number, shown))
    if score is None:
        raise InvalidScore(f"there is no score {number} here")
    return score


def retract(session: Session, score: Score, account: Account, reason: str) -> None:
    """Take a score back. It stays in the history, and what it had replaced does not return."""
    if score.reported_by_id != account.id and not account.is_operator:
        raise NotAllowed("a score can be retracted by who reported it, or by an operator")
    if score.retracted_at is None:
        score.retracted_at = now()
        score.retracted_by_id = account.id
        score.retraction_reason = reason
        audit.record(session, account, "score.retract", score.subject, score=score.id)


# --- reading -------------------------------------------------------------------------------------


def for_subject(
    session: Session, subject: str, viewer: Account | None, *, history: bool = False
) -> list[ScoreOut]:
    """Return the scores that count, of a subject that the viewer may see.

    `history`: all there ever were, each with what became of it.
    """
    if not score_subjects.is_visible(session, subject, viewer):
        return []
    return shown(session, _history(session, subject), viewer, history=history)


def for_adapter(
    session: Session,
    adapter: Adapter,
    viewer: Account | None = None,
    *,
    history: bool = False,
) -> list[ScoreOut]:
    """Return the scores of an adapter's contents, and those of set-ups that hold one of them."""
    mine = score_subjects.of_adapter(adapter, Score.subject, viewer)
    rows = session.scalars(select(Score).where(mine).order_by(Score.id)).all()
    return shown(session, rows, viewer, history=history)


def out(session: Session, score: Score, viewer: Account | None) -> ScoreOut:
    """Shape one score for the wire."""
    return _shape(session, _history(session, score.subject), [score], viewer)[0]


def shown(
    session: Session, rows: Sequence[Score], viewer: Account | None, *, history: bool = False
) -> list[ScoreOut]:
    """Shape scores, of each subject all, oldest first: those that count, or all."""
    kept = list(rows) if history else standing(rows)
    kept.sort(key=lambda score: score.id, reverse=True)
    kept.sort(key=_place)
    return _shape(session, rows, kept, viewer)


def standing(rows: Iterable[Score]) -> list[Score]:
    """Return of each reporter the last word, unless it was retracted; rows come oldest first."""
    return [score for score in _newest(rows).values() if score.retracted_at is None]


def _history(session: Session, subject: str) -> Sequence[Score]:
    query = select(Score).where(Score.subject == subject).order_by(Score.id)
    return session.scalars(query).all()


def _newest(scores: Iterable[Score]) -> dict[Any, Score]:
    """Return the last of the scores for each thing measured; they come oldest first."""
    return {_key(score): score for score in scores}


def _key(score: Score) -> Any:
    """Return what two scores share when the later replaces the earlier."""
    conditions = strictjson.canonical(score.conditions)
    return (score.subject, *_place(score), conditions, score.reported_by_id, score.source)


def _place(score: Score) -> tuple[str, ...]:
    return (score.dataset, score.config or "", score.split, score.language or "", score.metric)


_COPIED = (
    *("id", "subject", "dataset", "config", "split", "language", "metric", "value", "n"),
    *("stderr", "conditions", "source", "reported_at", "retracted_at", "retraction_reason"),
    *("evaluator_key", "evidence", "signature"),
)


def _shape(
    session: Session, every: Iterable[Score], scores: Sequence[Score], viewer: Account | None
) -> list[ScoreOut]:
    metric_rows = {row.name: row for row in session.scalars(select(Metric))}
    people = _names(session, scores)
    subjects = {score.subject for score in scores}
    slots = score_subjects.slots(session, subjects, viewer)
    refs = score_subjects.refs(session, subjects, viewer)
    externals = score_subjects.externals(session, subjects)
    revoked = _revoked(session, scores)
    replaced_by = _replaced(every)
    return [
        ScoreOut(
            **{field: getattr(score, field) for field in _COPIED},
            slots=slots.get(score.subject, {}),
            ref=refs.get(score.subject),
            external=externals.get(score.subject),
            higher_is_better=metric_rows[score.metric].higher_is_better,
            unit=metric_rows[score.metric].unit,
            reported_by=people[score.reported_by_id],
            retracted_by=people.get(score.retracted_by_id or 0),
            superseded_by=replaced_by.get(score.id),
            key_revoked=score.evaluator_key in revoked,
        )
        for score in scores
    ]


def _replaced(scores: Iterable[Score]) -> dict[int, int]:
    """Return for each score that was followed by another the one that followed it."""
    last: dict[Any, int] = {}
    replaced = {}
    for score in scores:
        if (key := _key(score)) in last:
            replaced[last[key]] = score.id
        last[key] = score.id
    return replaced


def _names(session: Session, scores: Iterable[Score]) -> dict[int, str]:
    ids = {each for score in scores for each in (score.reported_by_id, score.retracted_by_id)}
    rows = session.scalars(select(Account).where(Account.id.in_(ids - {None})))
    return {row.id: row.name for row in rows}


def _revoked(session: Session, scores: Iterable[Score]) -> Collection[str]:
    keys = {score.evaluator_key for score in scores} - {None}
    if not keys:
        return ()
    revoked = EvaluatorKey.revoked_at.is_not(None)
    return set(session.scalars(select(EvaluatorKey.key).where(EvaluatorKey.key.in_(keys), revoked)))


# --- checks --------------------------------------------------------------------------------------


def check_value(metric: Metric, value: float, stderr: float | None = None) -> None:
    """Raises InvalidScore for what no measurement by this metric can give."""
    if not math.isfinite(value):
        raise InvalidScore(f"the value {value} is not a finite number")
    if stderr is not None and not math.isfinite(stderr):
        raise InvalidScore(f"the standard error {stderr} is not a finite number")
    below = metric.lower is not None and value < metric.lower
    above = metric.upper is not None and value > metric.upper
    if not (below or above):
        return
    hint = ""
    if metric.unit == "fraction" and 1 < value <= 100:
        hint = f"; if {value:g} is a percentage, write {value / 100:g}"
    raise InvalidScore(
        f"{value:g} is out of bounds: {metric.name} is a {metric.unit} {_bounds(metric)}{hint}"
    )


def _bounds(metric: Metric) -> str:
    if metric.lower is None or metric.upper is None:
        return (
            f"of at least {metric.lower:g}" if metric.upper is None else f"up to {metric.upper:g}"
        )
    return f"from {metric.lower:g} to {metric.upper:g}"


def _checked(session: Session, body: ScoreIn) -> dict[str, Any]:
    """Return what was measured, and how, in standard form."""
    if (body.source == "verified") != (body.verification is not None):
        raise InvalidScore(
            "a score is 'verified' when an evaluator's key signs it with its evidence, and only "
            "then: 'hubctl scores add --verify-with KEYFILE --evidence FILE'"
        )
    dataset = _text("dataset", body.dataset, records.LONGEST_DATASET)
    fields: dict[str, Any] = {
        "subject": body.subject,
        "dataset": records.dataset_name(session, dataset),
        "config": None if body.config is None else _text("config", body.config, 100),
        "split": _text("split", body.split, 64),
        "conditions": body.conditions,
        "language": body.language,
        "value": body.value,
        "n": body.n,
        "stderr": body.stderr,
        "source": body.source,
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
    fields = ("value", "n", "stderr", "evidence")
    return all(getattr(one, field) == getattr(other, field) for field in fields)
