"""`hubctl evaluators`."""

from pathlib import Path

import click

from cli import output, signing
from cli.framework import HubCommand, WholeLines, connect, hub_options
from registry.schemas import EvaluatorKeyIn, EvaluatorKeyOut


@click.group("evaluators", cls=WholeLines)
def command() -> None:
    """Show, register and approve keys that sign verified scores."""


@command.command("list", cls=HubCommand, examples=("hubctl evaluators list",))
@hub_options
def list_(*, endpoint: str | None, as_json: bool) -> None:
    """List the keys, with whose they are and whether they count."""
    with connect(endpoint) as client:
        found = client.evaluators()
    if as_json:
        output.as_json([key.model_dump(mode="json") for key in found])
    elif found:
        rows = [[key.key, key.account, key.label, state(key)] for key in found]
        output.table(("key", "account", "label", "state"), rows)
    else:
        output.note("No evaluator has registered a key.")


def state(key: EvaluatorKeyOut) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.approved_at is None:
        return "waits for an operator's approval"
    return f"approved by {key.approved_by} {key.approved_at:%Y-%m-%d}"


@command.command(
    "register",
    cls=HubCommand,
    examples=("hubctl evaluators register evaluator.key --label nightly",),
)
@click.argument("key", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--label", required=True, help="What signs with it.")
@hub_options
def register(*, key: Path, label: str, endpoint: str | None, as_json: bool) -> None:
    """Register the public half of an ed25519 key as yours. The key itself is not sent.

    Make one by `ssh-keygen -t ed25519 -N '' -f evaluator.key`.
    """
    body = EvaluatorKeyIn(key=signing.public_key(key), label=label)
    with connect(endpoint) as client:
        show(client.register_evaluator(body), as_json=as_json)


@command.command("approve", cls=HubCommand, examples=("hubctl evaluators approve 3b6a27bc...",))
@click.argument("key", metavar="KEY")
@hub_options
def approve(*, key: str, endpoint: str | None, as_json: bool) -> None:
    """Let what a key signs count as verified. For operators."""
    with connect(endpoint) as client:
        show(client.decide_evaluator(key, "approve"), as_json=as_json)


@command.command("revoke", cls=HubCommand, examples=("hubctl evaluators revoke 3b6a27bc...",))
@click.argument("key", metavar="KEY")
@hub_options
def revoke(*, key: str, endpoint: str | None, as_json: bool) -> None:
    """Withdraw a key for good: what it signed no longer counts as verified."""
    with connect(endpoint) as client:
        show(client.decide_evaluator(key, "revoke"), as_json=as_json)


def show(key: EvaluatorKeyOut, *, as_json: bool) -> None:
    if as_json:
        output.as_json(key.model_dump(mode="json"))
    else:
        output.data(f"{key.key} of {key.account} ({key.label}): {state(key)}")
