"""What every command shares: its class, its options, and the hub it talks to."""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli import failures
from cli.credentials import Credentials, choose_endpoint, choose_token, is_chosen, normalise

if TYPE_CHECKING:
    from registry.client import HubClient

Function = TypeVar("Function", bound=Callable[..., Any])

_WHOLE = 1_000
"""Characters: more than any first sentence has."""


class HubCommand(click.Command):
    """A command with examples, whose errors become one line, a hint and an exit code."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            failure = failures.explain(error)
            if failure is None:
                raise
            if ctx.params.get("as_json"):
                # With --json, stdout holds one document whatever happens.
                click.echo(json.dumps({"error": failure.as_json()}, indent=2, ensure_ascii=False))
            raise failure from error


class WholeLines(click.Group):
    """A group that shows the first sentence of each command's help whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, command.get_short_help_str(limit=_WHOLE))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports each from its own module when called.

    So `--help` answers at once, and no command pays for what another one needs.
    """

    def __init__(
        self, *args: Any, package: str = "", lines: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        """`lines` holds each command's one line of help; a test compares it with the command's."""
        super().__init__(*args, **kwargs)
        self.package = package
        self.lines = dict(lines or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lines:
            return None
        module = importlib.import_module(f"{self.package}.{cmd_name.replace('-', '_')}")
        command = module.command
        if not isinstance(command, HubCommand | click.Group):
            raise TypeError(f"{module.__name__}.command is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lines.items()))


def json_option(function: Function) -> Function:
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document, sizes in bytes."
    )(function)


def endpoint_option(function: Function) -> Function:
    return click.option(
        "--endpoint",
        metavar="URL",
        help="The hub to talk to. Else HUBCTL_ENDPOINT, HF_ENDPOINT, the one last logged in to, "
        "http://127.0.0.1:8000.",
    )(function)


def hub_options(function: Function) -> Function:
    """Add --endpoint and --json, which every command that talks to a hub has."""
    return endpoint_option(json_option(function))


def connect(endpoint: str | None, *, origin: str | None = None) -> "HubClient":
    """Return a client of the chosen hub, with the token stored for it.

    `origin` is a hub that a folder names; it comes before the default. Since anybody may have
    written the folder, that hub only ever gets the token that was stored for it.
    """
    from registry.client import HubClient  # noqa: PLC0415  (200 ms that --help need not pay)

    credentials = Credentials()
    if origin is not None and not is_chosen(endpoint):
        return HubClient(normalise(origin), credentials.token(origin))
    url = choose_endpoint(endpoint, credentials)
    return HubClient(url, choose_token(url, credentials))
