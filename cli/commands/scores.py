"""`hubctl scores`."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli import folders, output, setups, signing
from cli.failures import Failure
from cli.framework import HubCommand, WholeLines, connect, hub_options
from registry import names, setup
from registry.client import HubClient
from registry.schemas import ScoreIn, ScoreOut


class ScoresGroup(WholeLines):
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
@click.option("--history", is_flag=True, help="Also what was replaced or taken back, and why.")
@hub_options
def show(*, subject: str, history: bool, endpoint: str | None, as_json: bool) -> None:
    """Show the scores of an adapter, a version of it, or a set-up.

    For a name without a version: those of all its versions, and of set-ups that hold one.
    """
    with connect(endpoint) as client:
        scores = _scores(client, subject, history=history)
    if as_json:
        output.as_json([score.model_dump(mode="json") for score in scores])
    elif scores:
        show_table(scores)
    else:
        output.note(f"No scores are recorded for {subject}.")


def _scores(client: HubClient, subject: str, *, history: bool) -> list[ScoreOut]:
    if not _is_path(subject) and "@" not in subject and not subject.startswith("sha256:"):
        name = names.parse_reference(subject).name
        return client.adapter_scores(name, history=history)
    return client.scores(_subject(client, subject)[0], history=history)


def show_table(scores: list[ScoreOut]) -> None:
    headings = (
        *("id", "dataset", "split", "language", "metric", "value", "±", "n", "conditions"),
        *("set-up", "source", "state"),
    )
    output.table(headings, [_row(score) for score in scores])


def _row(score: ScoreOut) -> list[object]:
    dataset = f"{score.dataset}/{score.config}" if score.config else score.dataset
    return [
        str(score.id),
        dataset,
        score.split,
        score.language,
        with_direction(score.metric, higher_is_better=score.higher_is_better),
        score.value,
        score.stderr,
        score.n,
        conditions_in_words(score.conditions),
        [f"{slot}: {ref}" for slot, ref in score.slots.items()],
        source_in_words(score),
        _state(score),
    ]


def with_direction(metric: str, *, higher_is_better: bool) -> str:
    """Which way is better is not for a reader to guess: perplexity falls, accuracy rises."""
    return f"{metric} {'↑' if higher_is_better else '↓'}"


def conditions_in_words(conditions: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_plain(value)}" for key, value in conditions.items()]


def source_in_words(score: ScoreOut) -> str:
    return f"{score.source}, key revoked" if score.key_revoked else score.source


def _state(score: ScoreOut) -> str | None:
    if score.retracted_at is not None:
        return f"retracted by {score.retracted_by} {score.retracted_at:%Y-%m-%d}: " + (
            score.retraction_reason or ""
        )
    return None if score.superseded_by is None else f"replaced by {score.superseded_by}"


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
@click.option("--supersedes", type=int, metavar="ID", help="Your own score that this one replaces.")
@click.option(
    "--verify-with",
    "key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEYFILE",
    help="Sign as an evaluator, with an ed25519 key (OpenSSH or PEM).",
)
@click.option(
    "--evidence",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --verify-with: what the value rests on, such as the predictions.",
)
@hub_options
def add(
    *,
    subject: str,
    language: str | None,
    conditions: tuple[str, ...],
    key: Path | None,
    evidence: Path | None,
    endpoint: str | None,
    as_json: bool,
    **measured: Any,
) -> None:
    """Record a measured result of an adapter's version or of a set-up.

    A set-up is named by its folder or lock; the hub keeps the lock with the score. A verified score
    is signed by an evaluator whose key an operator approved, together with the digest of its
    evidence, which the hub keeps.
    """
    if (key is None) != (evidence is None):
        raise click.UsageError("--verify-with and --evidence go together.")
    with connect(endpoint) as client:
        digest, lock = _subject(client, subject)
        body = ScoreIn(
            subject=digest,
            lock=lock,
            language=None if language is None else names.parse_language(language),
            conditions=dict(_condition(text) for text in conditions),
            **measured,
        )
        if key is not None and evidence is not None:
            body = _verified(client, body, key, evidence)
        score = client.record_score(body)
    if as_json:
        output.as_json(score.model_dump(mode="json"))
    else:
        output.data(f"Recorded {score.metric} {score.value:.4g} on {score.dataset} for {digest}")


def _verified(client: HubClient, body: ScoreIn, key: Path, evidence: Path) -> ScoreIn:
    """Send the evidence, and return the score signed in the form in which the hub stores it."""
    private = signing.read_key(key)
    with evidence.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        client.send_evidence(digest, file)
    spelt = client.spelling(body)
    return signing.verified(spelt, private, f"sha256:{digest}")


def _condition(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"--condition reads KEY=VALUE, not {text!r}.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value  # a plain word


@command.command(
    "retract",
    cls=HubCommand,
    examples=('hubctl scores retract 12 --reason "measured on the training split"',),
)
@click.argument("number", type=int, metavar="ID")
@click.option("--reason", required=True, help="Why it is wrong; shown with the score.")
@hub_options
def retract(*, number: int, reason: str, endpoint: str | None, as_json: bool) -> None:
    """Take back a score of yours. It stays in the history, struck out, with the reason."""
    with connect(endpoint) as client:
        score = client.retract_score(number, reason)
    if as_json:
        output.as_json(score.model_dump(mode="json"))
    else:
        output.data(f"Retracted score {number}: {score.metric} {score.value:.4g}")


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
