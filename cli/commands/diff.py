"""`hubctl diff`."""

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options
from registry import names
from registry.schemas import DiffOut, TensorChangeOut, TensorEntry

SHOWN = 40
"""Tensors that are listed without --all."""


@click.command(
    "diff",
    cls=HubCommand,
    examples=(
        "hubctl diff acme/ner@1.0.0 acme/ner@1.1.0",
        "hubctl diff acme/ner@1.0.0 1.1.0 --json",
    ),
)
@click.argument("before", metavar="REF")
@click.argument("after", metavar="REF")
@click.option("--all", "whole", is_flag=True, help="List every tensor that differs.")
@hub_options
def command(*, before: str, after: str, whole: bool, endpoint: str | None, as_json: bool) -> None:
    """Say what differs between two versions: weights, head, contract or card.

    The hub compares the digests of tensors; nothing is downloaded. The second REF may be a number
    alone, of the same adapter.
    """
    one = names.parse_reference(before)
    two = names.parse_reference(after if "/" in after else f"{one.name}@{after.lstrip('@')}")
    with connect(endpoint) as client:
        found = client.diff(str(one), str(two))
    if as_json:
        output.as_json(found.model_dump(mode="json"))
    else:
        _show(found, len(found.tensors) if whole else SHOWN)


def _show(found: DiffOut, most: int) -> None:
    output.data(f"{found.before} -> {found.after}: {found.summary}")
    if found.fields:
        output.fields([("fields", found.fields)])
    if found.files:
        output.data()
        output.table(("file", "change"), list(found.files.items()))
    if found.tensors:
        output.data()
        rows = [_row(change) for change in found.tensors[:most]]
        output.table(("tensor", "change", "before", "after", "file"), rows)
    if len(found.tensors) > most:
        output.note(f"{len(found.tensors) - most} more tensors differ; --all lists them")


def _row(change: TensorChangeOut) -> list[object]:
    before, after = _entry(change.before), _entry(change.after)
    return [change.name, change.change, before, after if after != before else "", change.file]


def _entry(entry: TensorEntry | None) -> str:
    return "" if entry is None else f"{entry.dtype} {'x'.join(map(str, entry.shape)) or 'scalar'}"
