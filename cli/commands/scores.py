"""`hubctl scores`."""

import json
from pathlib import Path
from typing import Any

import click

from cli import folders, output, setups
from cli.failures import Failure
from cli.framework import HubCommand, connect, hub_options
from registry import names, setup
from registry.client import HubClient
from registry.schemas import ScoreIn, ScoreOut


class ScoresGroup(click.Group):
    """`scores REF` is short for `scores show REF`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


@click.group("scores", cls=ScoresGroup)
def command() -> None:
    """Show or record measured results."""


@command.command(
    "show",
    cls=HubCommand,
    examples=("hubctl scores acme/copa-xlmr", "hubctl scores ./setup --json"),
)
@click.argument("subject", metavar="REF|FOLDER|LOCK")
@hub_options
def show(*, subject: str, endpoint: str | None, as_json: bool) -> None:
    """Show the scores of an adapter, a version of it, or a set-up.

    For a name without a version: those of all its versions, and of set-ups that hold one.
    """
    with connect(endpoint) as client:
        scores = _scores(client, subject)
    if as_json:
        output.as_json([score.model_dump(mode="json") for score in scores])
    elif scores:
        show_table(scores)
    else:
        output.note(f"No scores are recorded for {subject}.")


def _scores(client: HubClient, subject: str) -> list[ScoreOut]:
    if not _is_path(subject) and "@" not in subject and not subject.startswith("sha256:"):
        return client.adapter(names.parse_reference(subject).name).scores
    return client.scores(_subject(client, subject)[0])


def show_table(scores: list[ScoreOut]) -> None:
    headings = ("dataset", "split", "language", "metric", "value", "±", "n", "conditions", "set-up")
    output.table(headings, [_row(score) for score in scores])


def _row(score: ScoreOut) -> list[object]:
    dataset = f"{score.dataset}/{score.config}" if score.config else score.dataset
    # Which way is better is not for a reader to guess: perplexity falls, accuracy rises.
    metric = f"{score.metric} {'↑' if score.higher_is_better else '↓'}"
    return [
        dataset,
        score.split,
        score.language,
        metric,
        score.value,
        score.stderr,
        score.n,
        [f"{key}={_plain(value)}" for key, value in score.conditions.items()],
        [f"{slot}: {ref}" for slot, ref in score.slots.items()],
    ]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@command.command(
    "add",
    cls=HubCommand,
    examples=(
        "hubctl scores add ./setup --dataset xcopa --config qu --metric accuracy --value 0.562",
        "hubctl scores add acme/ner-xlmr@1.0.0 --dataset conll2003 --metric f1 --value 0.91",
    ),
)
@click.argument("subject", metavar="REF|FOLDER|LOCK")
@click.option("--dataset", required=True, help="Such as xcopa.")
@click.option("--config", help="The configuration of the dataset.")
@click.option("--split", default="test", show_default=True, help="The part that was measured.")
@click.option("--language", metavar="TAG", help="Of the text that was measured.")
@click.option("--metric", required=True, help="Such as accuracy or f1.")
@click.option("--value", type=float, required=True, help="Fractions as 0.562, not 56.2.")
@click.option("--n", type=click.IntRange(1), help="How many examples were measured.")
@click.option("--stderr", type=click.FloatRange(0), help="The standard error of the value.")
@click.option(
    "--condition",
    "conditions",
    metavar="KEY=VALUE",
    multiple=True,
    help="What else matters, such as zero_shot=true. May be repeated.",
)
@hub_options
def add(
    *,
    subject: str,
    language: str | None,
    conditions: tuple[str, ...],
    endpoint: str | None,
    as_json: bool,
    **measured: Any,
) -> None:
    """Record a measured result of an adapter's version or of a set-up.

    A set-up is named by its folder or lock; the hub keeps the lock with the score.
    """
    with connect(endpoint) as client:
        digest, lock = _subject(client, subject)
        score = client.record_score(
            ScoreIn(
                subject=digest,
                lock=lock,
                language=None if language is None else names.parse_language(language),
                conditions=dict(_condition(text) for text in conditions),
                **measured,
            )
        )
    if as_json:
        output.as_json(score.model_dump(mode="json"))
    else:
        output.data(f"Recorded {score.metric} {score.value:.4g} on {score.dataset} for {digest}")


def _condition(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"--condition reads KEY=VALUE, not {text!r}.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value  # a plain word


# --- subjects ------------------------------------------------------------------------------------


def _is_path(text: str) -> bool:
    path = Path(text)
    return path.is_file() or any((path / name).is_file() for name in (folders.LOCK, folders.ORIGIN))


def _subject(client: HubClient, text: str) -> tuple[str, dict[str, Any] | None]:
    """Return the digest that scores of this thing refer to, and the lock when it is a set-up."""
    if text.startswith("sha256:"):
        return text, None
    path = Path(text)
    if path.is_file() or (path / folders.LOCK).is_file():
        lock = folders.read_lock(path)
        return setup.setup_digest(setups.read_lock(lock)), lock
    if content := folders.origin(path).get("content"):
        return str(content), None
    if path.is_dir() and text.startswith((".", "/")):
        raise Failure(
            f"{text} is neither a pulled adapter nor a set-up folder",
            hint="name an adapter as OWNER/NAME@NUMBER",
        )
    reference = names.parse_reference(text)
    return client.version(reference.name, str(reference.selector)).content, None
