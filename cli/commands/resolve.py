"""`hubctl resolve`."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli import output, setups
from cli.framework import HubCommand, connect, hub_options
from registry.schemas import Resolution


@click.command(
    "resolve",
    cls=HubCommand,
    examples=(
        "hubctl resolve --base xlm-roberta-base 'Stack(lang:qu, acme/copa-xlmr@^1)'",
        "hubctl resolve --task acme/copa-xlmr --language qu --json > hub_lock.json",
        "hubctl resolve --recipe recipe.json",
    ),
)
@click.argument("text", metavar="[SETUP]", required=False)
@setups.recipe_options
@click.option("--why", is_flag=True, help="Also say why each other candidate was not chosen.")
@hub_options
def command(
    *, text: str | None, why: bool, endpoint: str | None, as_json: bool, **options: Any
) -> None:
    """Show which adapters a set-up would use, and why.

    Nothing is downloaded. With --json, prints the lock itself, which `pull --lock` takes. When no
    set-up fits, says for each candidate what was wrong with it, and ends with exit code 3.
    """
    asked = setups.Asked(text=text, **options)
    if asked.ways != 1:
        raise click.UsageError("Name one thing: a SETUP, --task or --recipe.")
    setups.check_usage(asked)
    with connect(endpoint) as client:
        recipe = setups.read_recipe(client, asked)
        resolution = client.resolve(recipe)
    for warning in resolution.warnings:
        output.warn(warning)
    if as_json:
        output.as_json(resolution.lock)
    else:
        _show(resolution, in_full=why)


def _show(resolution: Resolution, *, in_full: bool) -> None:
    lock = setups.read_lock(resolution.lock)
    rows = []
    for slot, pinned in lock.slots.items():
        dropped = ", ".join(map(str, pinned.load.leave_out))
        because = resolution.why.get(slot, {}).get("because")
        rows.append([slot, pinned.ref, dropped, because])
    output.table(("slot", "adapter", "without layers", "because"), rows)
    output.data()
    size = sum(file["size"] for pinned in lock.slots.values() for file in pinned.files.values())
    output.fields(
        [
            ("base", lock.base.name),
            ("head", lock.head),
            ("size", output.size(size)),
            ("set-up", resolution.digest),
        ]
    )
    rejected = {slot: facts.get("rejected") or {} for slot, facts in resolution.why.items()}
    count = sum(map(len, rejected.values()))
    if in_full:
        _show_rejected(rejected)
    elif count:
        output.note(f"{output.plural(count, 'other candidate')} not chosen; --why says why.")


def _show_rejected(rejected: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    for slot, candidates in rejected.items():
        if candidates:
            output.data(f"\nNot chosen for {slot}")
        for ref, reasons in candidates.items():
            output.data(f"  {ref}: {'; '.join(reasons)}")
