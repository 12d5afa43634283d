"""`hubctl login`."""

import sys

import click

from cli import output
from cli.credentials import Credentials, check_token, choose_endpoint
from cli.framework import HubCommand, hub_options
from registry.client import HubClient


@click.command(
    "login",
    cls=HubCommand,
    examples=(
        "hubctl login --endpoint https://hub.example.org",
        "hubctl login < token.txt",
    ),
)
@click.option("--token", metavar="TOKEN", help="The token; `-` reads it from standard input.")
@hub_options
def command(*, token: str | None, endpoint: str | None, as_json: bool) -> None:
    """Log in to a hub and remember its token.

    The token is tried before it is kept, in a file that only you can read, for that hub alone.
    """
    credentials = Credentials()
    url = choose_endpoint(endpoint, credentials)
    secret = _read_token(token, url)
    with HubClient(url, secret) as client:
        me = client.whoami()
    credentials.store(url, secret, me["name"])
    if as_json:
        output.as_json({"endpoint": url, "account": me["name"]})
    else:
        output.data(f"Logged in to {url} as {me['name']}")


def _read_token(given: str | None, url: str) -> str:
    """Return the token given, prompted for on a terminal, or piped in."""
    if given is not None and given != "-":
        token = given
    elif given is None and sys.stdin.isatty():
        token = click.prompt(f"Token for {url}", hide_input=True, err=True)
    else:
        token = sys.stdin.readline()
    return check_token(token)
