"""`hubctl admin`: one file per command."""

import click

from cli.framework import LazyGroup

COMMANDS = {
    "migrate": "Bring the database to the schema of this release.",
}


@click.group("admin", cls=LazyGroup, package=__name__, lines=COMMANDS)
def command() -> None:
    """Look after a hub, on the machine where it runs.

    These commands work on the hub's own data, also while it runs, and take the settings it takes:
    environment variables that begin with HUB_.
    """
