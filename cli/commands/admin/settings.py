"""`hubctl admin settings`."""

from pathlib import Path

import click

from cli import operating, output
from cli.framework import HubCommand


@click.command(
    "settings",
    cls=HubCommand,
    examples=("hubctl admin settings", "HUB_PAGE_SIZE=50 hubctl admin settings --json"),
)
@operating.operator_options
def command(*, data: Path | None, as_json: bool) -> None:
    """Show the settings, where each comes from, and what it means; never a secret.

    Each is an environment variable.
    """
    found = operating.read_settings(data).summary()
    if as_json:
        output.as_json([vars(each) for each in found])
        return
    rows = [[each.variable, each.value, each.source, each.meaning] for each in found]
    output.table(("variable", "value", "from", "meaning"), rows)
