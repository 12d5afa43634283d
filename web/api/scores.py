"""Scores over HTTP."""

from fastapi import APIRouter, status

from registry import accounts, scores
from registry.schemas import Digest, MetricOut, ScoreIn, ScoreOut
from web.deps import DatabaseSession, OptionalCaller, RequiredCaller, viewer_of

router = APIRouter(prefix="/api/v1", tags=["scores"])


@router.post("/scores", status_code=status.HTTP_201_CREATED)
def record_score(body: ScoreIn, session: DatabaseSession, caller: RequiredCaller) -> ScoreOut:
    """Report what was measured of a content or a set-up that is here."""
    accounts.require_owner(session, caller, caller.account, "write", subject="reporting a score")
    score = scores.record(session, body, caller.account)
    return scores.out(session, score, caller.account)


@router.get("/scores")
def list_scores(
    subject: Digest, session: DatabaseSession, caller: OptionalCaller
) -> list[ScoreOut]:
    """List the scores that count: of each reporter the last word, without what was retracted."""
    return scores.for_subject(session, subject, viewer_of(caller))


@router.get("/metrics")
def list_metrics(session: DatabaseSession) -> list[MetricOut]:
    """List the metrics a score may be of, with direction, unit and bounds."""
    return scores.metrics(session)
