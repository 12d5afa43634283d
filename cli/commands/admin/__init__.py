"""`hubctl admin`: one file per command."""

import click

from cli.framework import LazyGroup

COMMANDS = {
    "user": "Add, list, invite and disable users.",
    "token": "Create, list and revoke tokens of any user.",
    "org": "Create organisations, and say who may do what in their names.",
    "audit": "Show who changed what, and when, the newest first.",
    "settings": "Show the settings, where each comes from, and what it means; never a secret.",
    "quarantine": "Withhold a version from everybody, locks included, until it is given back.",
    "backup": "Copy everything a hub holds into a folder.",
    "gc": "Remove what cut and refused pushes left behind.",
    "migrate": "Bring the database to the schema of this release.",
    "reindex": "Write the search index anew.",
    "restore": "Make a hub from a backup.",
    "scrub": "Read everything that is kept, and name what is damaged.",
    "import-adapterhub": "Read AdapterHub's cards as external adapters.",
}


@click.group("admin", cls=LazyGroup, package=__name__, lines=COMMANDS)
def command() -> None:
    """Look after a hub, on the machine where it runs.

    These commands work on the hub's own data, also while it runs, and take the settings it takes:
    environment variables that begin with HUB_.
    """
