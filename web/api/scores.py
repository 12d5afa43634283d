"""Scores over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from registry import accounts, evaluators, leaderboards, scores, uploads
from registry.blobs import Draft, StoredBlob
from registry.errors import FileNotInRevision, UploadTooLarge
from registry.models import Account
from registry.schemas import (
    BoardKey,
    BoardOut,
    Count,
    Digest,
    EvaluatorKeyIn,
    EvaluatorKeyOut,
    LeaderboardOut,
    RetractionIn,
    ScoreIn,
    ScoreOut,
)
from web.deps import (
    AppSettings,
    Blobs,
    DatabaseSession,
    OptionalCaller,
    RequiredCaller,
    reads_only,
    viewer_of,
)

router = APIRouter(prefix="/api/v1", tags=["scores"])

Asked = Annotated[BoardKey, Query()]


@router.post("/scores", status_code=status.HTTP_201_CREATED)
def record_score(body: ScoreIn, session: DatabaseSession, caller: RequiredCaller) -> ScoreOut:
    """Report what was measured of a content, a set-up or something external.

    409 if the caller said another value at the same conditions before, unless `supersedes` says
    that this one replaces it.
    """
    accounts.require_owner(session, caller, caller.account, "write", subject="reporting a score")
    score = scores.record(session, body, caller.account)
    return scores.out(session, score, caller.account)


@router.get("/scores")
def list_scores(
    subject: Digest, session: DatabaseSession, caller: OptionalCaller, *, history: bool = False
) -> list[ScoreOut]:
    """List the scores that count: of each reporter the last word, without what was retracted.

    `history` lists all there ever were, with what became of them.
    """
    return scores.for_subject(session, subject, viewer_of(caller), history=history)


@router.get("/scores/{number}")
def read_score(number: Count, session: DatabaseSession, caller: OptionalCaller) -> ScoreOut:
    viewer = viewer_of(caller)
    return scores.out(session, scores.find(session, number, viewer), viewer)


@router.post("/scores/{number}/retract")
def retract_score(
    number: Count, body: RetractionIn, session: DatabaseSession, caller: RequiredCaller
) -> ScoreOut:
    """Take a score back, with the reason. It stays in the history."""
    accounts.require_owner(session, caller, caller.account, "write", subject="retracting a score")
    score = scores.find(session, number, caller.account)
    scores.retract(session, score, caller.account, body.reason)
    return scores.out(session, score, caller.account)


# --- evidence and evaluators ---------------------------------------------------------------------


@router.put("/evidence/{sha256}", status_code=status.HTTP_201_CREATED)
@reads_only
async def store_evidence(
    *,
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")],
    request: Request,
    blobs: Blobs,
    settings: AppSettings,
    caller: RequiredCaller,
    session: DatabaseSession,
) -> Response:
    """Keep the bytes on which a verified score rests; the score names them by this digest."""
    accounts.require_owner(session, caller, caller.account, "write", subject="storing evidence")
    with blobs.draft() as draft:
        await _receive(request, draft, settings.evidence_limit)
        blob = await run_in_threadpool(draft.keep, expected_sha256=sha256)
    await run_in_threadpool(_record_evidence, request, blob, caller.account.id)
    return Response(status_code=status.HTTP_201_CREATED)


def _record_evidence(request: Request, blob: StoredBlob, account_id: int) -> None:
    with request.app.state.sessions.begin() as session:
        account = session.get_one(Account, account_id)
        evaluators.record_evidence(session, blob, account)
        uploads.confirm(request.app.state.blobs, blob)


async def _receive(request: Request, draft: Draft, limit: int) -> None:
    async for chunk in request.stream():
        if draft.size + len(chunk) > limit:
            raise UploadTooLarge(f"evidence may have {limit:,} bytes; send a smaller file")
        await run_in_threadpool(draft.write, chunk)


@router.get("/scores/{number}/evidence")
def read_evidence(
    number: Count, session: DatabaseSession, blobs: Blobs, caller: OptionalCaller
) -> Response:
    """Send the evidence of a verified score."""
    score = scores.find(session, number, viewer_of(caller))
    if score.evidence is None:
        raise FileNotInRevision(f"score {number}", score.source, "evidence")
    headers = {
        "Content-Disposition": f'attachment; filename="evidence-{number}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    stream = blobs.stream(score.evidence)
    return StreamingResponse(stream, media_type="application/octet-stream", headers=headers)


@router.get("/evaluators")
def list_evaluators(session: DatabaseSession) -> list[EvaluatorKeyOut]:
    """List the keys that sign verified scores."""
    return evaluators.listed(session)


@router.post("/evaluators", status_code=status.HTTP_201_CREATED)
def register_evaluator(
    body: EvaluatorKeyIn, session: DatabaseSession, caller: RequiredCaller
) -> EvaluatorKeyOut:
    """Register a public key of the caller. It counts once an operator has approved it."""
    accounts.require_owner(session, caller, caller.account, "write", subject="evaluator keys")
    row = evaluators.register(session, body.key, body.label, caller.account)
    return evaluators.out(session, [row])[0]


@router.post("/evaluators/{key}/approve")
def approve_evaluator(
    key: str, session: DatabaseSession, caller: RequiredCaller
) -> EvaluatorKeyOut:
    accounts.require_owner(session, caller, caller.account, "admin", subject="evaluator keys")
    row = evaluators.find(session, key)
    evaluators.approve(session, row, caller.account)
    return evaluators.out(session, [row])[0]


@router.post("/evaluators/{key}/revoke")
def revoke_evaluator(key: str, session: DatabaseSession, caller: RequiredCaller) -> EvaluatorKeyOut:
    """Withdraw a key for good; what it signed no longer counts as verified."""
    accounts.require_owner(session, caller, caller.account, "write", subject="evaluator keys")
    row = evaluators.find(session, key)
    evaluators.revoke(session, row, caller.account)
    return evaluators.out(session, [row])[0]


# --- leaderboards --------------------------------------------------------------------------------


@router.get("/leaderboards")
def list_boards(
    session: DatabaseSession,
    caller: OptionalCaller,
    dataset: str | None = None,
    metric: str | None = None,
) -> list[BoardOut]:
    """List what is measured, with the best value and how many scores there are."""
    return leaderboards.boards(session, viewer_of(caller), dataset=dataset, metric=metric)


@router.get("/leaderboards/board")
def read_board(board: Asked, session: DatabaseSession, caller: OptionalCaller) -> LeaderboardOut:
    """Rank the scores of one data set, configuration, split, language and metric.

    Scores are compared at the same conditions only, and verified ones apart from all others.
    """
    return leaderboards.board(session, board, viewer_of(caller))
