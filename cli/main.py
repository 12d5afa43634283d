"""`hubctl`: publish, find and fetch adapters.

Each command lives in its own file under `cli/commands` and is imported when it is called, so that
`hubctl --help` answers at once and no command pays for what another one needs.
"""

from typing import NoReturn

import click

from cli.framework import LazyGroup

FIRST_ROUND = {
    "hubctl serve": "a hub on this machine, no set-up needed",
    "hubctl push ./my-adapter me/ner-xlmr": "check a folder and publish it",
    "hubctl search ner": "find it",
    "hubctl pull me/ner-xlmr": "fetch it",
}

COMMANDS = {
    "serve": "Run a hub on this machine.",
    "login": "Log in to a hub and remember its token.",
    "logout": "Forget the token of a hub.",
    "whoami": "Say who you are on a hub.",
    "push": "Check an adapter folder and publish it.",
    "pull": "Fetch an adapter, or a whole set-up by need.",
    "swap": "Replace one adapter of a pulled set-up, such as its language.",
    "resolve": "Show which adapters a set-up would use, and why.",
    "matrix": "Show which task adapters of a base work in which languages.",
    "search": "Find adapters.",
    "info": "Show one adapter: versions, contract, base, scores.",
    "diff": "Say what differs between two versions: weights, head, contract or card.",
    "scores": "Show or record measured results.",
    "leaderboard": "Rank what was measured on one data set, or list what is measured.",
    "records": "Show or add the metrics, tasks and data sets of scores.",
    "evaluators": "Show, register and approve keys that sign verified scores.",
    "base": "Show or register base models.",
    "deprecate": "Advise against a version, and name its successor.",
    "yank": "Keep a version from being chosen anew.",
    "remove": "Withdraw a version, or a whole adapter, for good.",
    "rename": "Give an adapter another name, or another owner.",
    "visibility": "Show an adapter to everybody, or to its owner's members alone.",
    "org": "Show and choose the members of an organisation.",
    "audit": "Show who changed what of yours, or of an organisation of yours.",
    "convert": "Turn pickled weights into safetensors.",
    "admin": "Look after a hub, on the machine where it runs.",
}
"""Every command and its one line of help, which is that of the command itself (a test compares)."""


class HubGroup(LazyGroup):
    """The command itself, whose help ends with how to begin."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        with formatter.section("A first round"):
            formatter.write_dl(list(FIRST_ROUND.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415  (slow, and seldom asked for)

        click.echo(f"hubctl {version('hubctl')}")
        ctx.exit()


@click.group(
    cls=HubGroup,
    package="cli.commands",
    lines=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Data goes to stdout, progress and hints to stderr. "
    "Exit codes: 0 done, 1 error, 2 wrong usage, 3 refused by a rule, 4 not allowed, 5 no server.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Publish, find and fetch adapters for language models."""


def main() -> NoReturn:
    cli(prog_name="hubctl")
    raise SystemExit(0)  # click has left before; this is for the type checker


if __name__ == "__main__":
    main()
