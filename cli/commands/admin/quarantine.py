"""`hubctl admin quarantine`."""

from pathlib import Path

import click

from cli import operating, output, states
from cli.framework import HubCommand


@click.command(
    "quarantine",
    cls=HubCommand,
    examples=(
        "hubctl admin quarantine acme/ner@1.1.0 --reason 'reported as copied'",
        "hubctl admin quarantine acme/ner@1.1.0 --undo",
    ),
)
@click.argument("ref", metavar="REF")
@click.option("--reason", help="Why, in a sentence that others see.")
@click.option("--undo", is_flag=True, help="Give the version back; it is live again.")
@operating.operator_options
def command(*, ref: str, reason: str | None, undo: bool, data: Path | None, as_json: bool) -> None:
    """Withhold a version from everybody, locks included, until it is given back.

    REF is OWNER/NAME@NUMBER.
    """
    from registry import accounts, revisions  # noqa: PLC0415  (part of the extra [server])
    from registry import states as registry_states  # noqa: PLC0415  (as above)

    name, number = states.exact(ref)
    with operating.open_hub(data) as hub, hub.sessions.begin() as session:
        adapter = revisions.find_adapter(session, name, accounts.HUB)
        version = registry_states.exact_version(session, adapter, number)
        registry_states.change(
            session,
            hub.blobs,
            version,
            "live" if undo else "quarantined",
            accounts.HUB,
            reason=reason,
        )
        ref, state = f"{adapter.name}@{version.number}", version.state
    if as_json:
        output.as_json({"ref": ref, "state": state})
    else:
        output.data(f"{ref} is {state}")
