"""What was measured, side by side; and what metrics, tasks and data sets mean."""

from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Query, Response

from registry import leaderboards, records
from registry.schemas import BoardKey, BoardOut, LeaderboardOut, ScoreOut
from web.deps import DatabaseSession, OptionalCaller, viewer_of
from web.pages.rendering import address, page, part_of, score_subject

router = APIRouter()

Asked = Annotated[BoardKey, Query()]


@router.get("/leaderboards")
def get_boards(
    session: DatabaseSession, caller: OptionalCaller, dataset: str | None = None
) -> Response:
    """List every board, by data set."""
    found = leaderboards.boards(session, viewer_of(caller), dataset=dataset or None)
    titles = {row.name: row for row in records.datasets(session)}
    groups = [(name, list(each)) for name, each in groupby(found, key=lambda b: b.dataset)]
    return page(
        "leaderboards.html",
        groups=groups,
        titles=titles,
        dataset=dataset,
        hrefs={id(board): board_address(board) for _, boards in groups for board in boards},
    )


@router.get("/leaderboards/board")
def get_board(key: Asked, session: DatabaseSession, caller: OptionalCaller) -> Response:
    """Rank the scores of one board."""
    board = leaderboards.board(session, key, viewer_of(caller))
    return page("leaderboard.html", board=board, subjects=_subjects, by_score=_by_score(board))


@router.get("/leaderboards/records")
def get_records(session: DatabaseSession) -> Response:
    """Show the metrics, tasks and data sets that are recorded."""
    return page(
        "records.html",
        metrics=records.metrics(session),
        tasks=records.tasks(session),
        datasets=records.datasets(session),
    )


def _by_score(board: LeaderboardOut) -> str | None:
    """Return where adapters stand by their own scores, if there are any: not those of set-ups."""
    entries = [each for group in board.groups for each in (*group.verified, *group.reported)]
    if all(entry.score.slots for entry in entries):
        return None
    return address("/search", sort="score", dataset=board.dataset, metric=board.metric)


def board_address(board: BoardOut) -> str:
    return address("/leaderboards/board", **{field: getattr(board, field) for field in _KEY})


_KEY = tuple(BoardKey.model_fields)


def _subjects(score: ScoreOut) -> list[tuple[str, str | None]]:
    """Return the parts of what was measured, each with its page if it has one."""
    if score.slots:
        return [part_of(slot, ref) for slot, ref in score.slots.items()]
    return [score_subject(score)]
