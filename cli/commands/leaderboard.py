"""`hubctl leaderboard`."""

import click

from cli import output
from cli.commands.scores import conditions_in_words, source_in_words, with_direction
from cli.framework import HubCommand, connect, hub_options
from registry.schemas import BoardEntry, BoardGroup, BoardKey, BoardOut, LeaderboardOut, ScoreOut


@click.command(
    "leaderboard",
    cls=HubCommand,
    examples=(
        "hubctl leaderboard",
        "hubctl leaderboard xcopa",
        "hubctl leaderboard xcopa --config qu --language qu --metric accuracy",
    ),
)
@click.argument("dataset", required=False)
@click.option("--config", help="The configuration of the data set.")
@click.option("--split", default="test", show_default=True, help="The part that was measured.")
@click.option("--language", metavar="TAG", help="Of the text that was measured.")
@click.option("--metric", help="Such as accuracy; with it, one board is ranked.")
@hub_options
def command(
    *,
    dataset: str | None,
    config: str | None,
    split: str,
    language: str | None,
    metric: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Rank what was measured on one data set, or list what is measured.

    Scores are compared at the same conditions only, and verified ones apart from all others.
    """
    with connect(endpoint) as client:
        if dataset is None or metric is None:
            boards = client.leaderboards(dataset=dataset, metric=metric)
            _list(boards, as_json=as_json)
            return
        key = BoardKey(
            dataset=dataset, config=config, split=split, language=language, metric=metric
        )
        board = client.leaderboard(key)
    if as_json:
        output.as_json(board.model_dump(mode="json"))
    elif board.groups:
        _rank(board)
    else:
        output.note(f"Nothing is measured there; `hubctl leaderboard {dataset}` lists what is.")


def _list(boards: list[BoardOut], *, as_json: bool) -> None:
    if as_json:
        output.as_json([board.model_dump(mode="json") for board in boards])
    elif boards:
        headings = (
            *("dataset", "config", "split", "language", "metric", "best", "scores", "verified"),
        )
        output.table(headings, [_board(board) for board in boards])
    else:
        output.note("Nothing is measured there yet.")


def _board(board: BoardOut) -> list[object]:
    metric = with_direction(board.metric, higher_is_better=board.higher_is_better)
    return [
        *(board.dataset, board.config, board.split, board.language, metric),
        *(board.best, board.scores, board.verified),
    ]


def _rank(board: LeaderboardOut) -> None:
    metric = with_direction(board.metric, higher_is_better=board.higher_is_better)
    parts = [board.dataset, board.config, board.split, board.language, metric]
    output.data(" · ".join(part for part in parts if part))
    for group in board.groups:
        _show_group(group)


def _show_group(group: BoardGroup) -> None:
    stated = ", ".join(conditions_in_words(group.conditions)) or "no conditions stated"
    output.data(f"\n{group.transfer[0].upper()}{group.transfer[1:]} ({stated})")
    headings = ("#", "value", "±", "n", "what", "source", "by", "id")
    rows = [_entry(entry) for entry in [*group.verified, *group.reported]]
    output.table(headings, rows)


def _entry(entry: BoardEntry) -> list[object]:
    score = entry.score
    return [
        *(entry.rank, score.value, score.stderr, score.n, subject_in_words(score)),
        *(source_in_words(score), score.reported_by, str(score.id)),
    ]


def subject_in_words(score: ScoreOut) -> str:
    """Return what a score is of: a version, the parts of a set-up, or something external."""
    if score.external is not None:
        variant = f" ({score.external.variant})" if score.external.variant else ""
        return f"{score.external.name}{variant}, external"
    if score.slots:
        return " + ".join(score.slots.values())
    return score.ref or output.short(score.subject)
