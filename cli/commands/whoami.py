"""`hubctl whoami`."""

import click

from cli import output
from cli.framework import HubCommand, connect, hub_options


@click.command("whoami", cls=HubCommand, examples=("hubctl whoami", "hubctl whoami --json"))
@hub_options
def command(*, endpoint: str | None, as_json: bool) -> None:
    """Say who you are on a hub."""
    with connect(endpoint) as client:
        me = client.whoami()
        url = client.endpoint
    organisations = [(org["name"], org.get("roleInOrg")) for org in me.get("orgs", [])]
    token = me.get("auth", {}).get("accessToken", {})
    if as_json:
        output.as_json(
            {
                "endpoint": url,
                "account": me["name"],
                "role": token.get("role"),
                "organisations": [{"name": name, "role": role} for name, role in organisations],
            }
        )
        return
    output.fields(
        [
            ("account", me["name"]),
            ("hub", url),
            ("token may", token.get("role")),
            ("member of", [f"{name} ({role})" for name, role in organisations]),
        ]
    )
