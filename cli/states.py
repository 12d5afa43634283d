"""Moving a version from one state to another, as `deprecate`, `yank` and `remove` do."""

import click

from cli import output
from cli.failures import Failure
from cli.framework import HubCommand, connect, hub_options
from registry import names
from registry.schemas import State


def command(name: str, state: State, words: str, examples: tuple[str, ...]) -> HubCommand:
    """Return the command that puts a version into a state, or makes it live again."""

    @click.command(name, cls=HubCommand, help=words, examples=examples)
    @click.argument("ref", metavar="REF")
    @click.option("--successor", metavar="REF", help="What to use instead.")
    @click.option("--reason", help="Why, in a sentence that others see.")
    @click.option("--undo", is_flag=True, help="Make it a live version again.")
    @hub_options
    def moving(
        *,
        ref: str,
        successor: str | None,
        reason: str | None,
        undo: bool,
        endpoint: str | None,
        as_json: bool,
    ) -> None:
        wanted: State = "live" if undo else state
        move(ref, wanted, endpoint, as_json=as_json, successor=successor, reason=reason)

    return moving


def move(
    ref: str,
    state: State,
    endpoint: str | None,
    *,
    as_json: bool,
    successor: str | None = None,
    reason: str | None = None,
) -> None:
    name, number = exact(ref)
    with connect(endpoint) as client:
        version = client.set_state(name, number, state, successor=successor, reason=reason)
    if as_json:
        output.as_json(version.model_dump(mode="json"))
        return
    output.data(f"{version.ref} is {version.state}")
    output.fields([("use instead", version.successor), ("reason", version.reason)])


def exact(ref: str) -> tuple[str, str]:
    """Return name and number of a reference to one version."""
    reference = names.parse_reference(ref)
    if not isinstance(reference.selector, names.Exact):
        raise Failure(
            f"{ref} does not say which version",
            hint=f"write its number, as in {reference.name}@1.0.0; `hubctl info` lists them",
            code="invalid_name",
        )
    return reference.name, reference.selector.number
