"""`hubctl logout`."""

import click

from cli import output
from cli.credentials import Credentials, choose_endpoint
from cli.framework import HubCommand, hub_options


@click.command(
    "logout",
    cls=HubCommand,
    examples=("hubctl logout", "hubctl logout --endpoint https://hub.example.org"),
)
@hub_options
def command(*, endpoint: str | None, as_json: bool) -> None:
    """Forget the token of a hub.

    The token stays valid on the hub until it expires or is revoked there.
    """
    credentials = Credentials()
    url = choose_endpoint(endpoint, credentials)
    known = credentials.forget(url)
    if as_json:
        output.as_json({"endpoint": url, "logged_out": known})
    else:
        output.data(f"Logged out of {url}" if known else f"No token was stored for {url}")
