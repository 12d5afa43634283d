"""`hubctl serve`."""

import getpass
import ipaddress
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import operating, output
from cli.credentials import Credentials, is_local
from cli.failures import Failure
from cli.framework import HubCommand, json_option

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.orm import Session

    from registry.settings import Settings

BACKLOG = 2048


@click.command(
    "serve",
    cls=HubCommand,
    examples=(
        "hubctl serve",
        "hubctl serve --data /srv/hub --port 9000",
        "HUB_SECRET=... hubctl serve --host 0.0.0.0 --public-url https://hub.example.org",
    ),
)
@operating.data_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on. Others than this machine's need HUB_SECRET.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes any free one.",
)
@click.option("--public-url", metavar="URL", help="The address clients use, when it is another.")
@json_option
def command(
    *, data: Path | None, host: str, port: int, public_url: str | None, as_json: bool
) -> None:
    """Run a hub on this machine.

    On this machine alone (the default) nothing needs to be set up: the data folder, the database
    and a first account named after you are made, and `hubctl` here is logged in. Other settings
    are environment variables that begin with HUB_.
    """
    settings = operating.read_settings(data, public_url=public_url)
    local = _is_loopback(host)
    if not local and settings.secret is None:
        raise Failure(
            f"a hub that listens on {host} is open to others, and no secret is configured",
            hint="set HUB_SECRET to a long random text, the same for every worker of this hub",
        )
    with closing(_listen(host, port)) as listener:
        url = f"http://{_shown(host)}:{listener.getsockname()[1]}"
        with operating.reaching_database():
            app = _app(settings)
        with app.state.sessions.begin() as session:
            account = _log_in(session, url) if local else None
        # uvicorn repeats the signal once it has shut down; by then there is nothing to do.
        with suppress(KeyboardInterrupt):
            _announce(url, settings, account, as_json=as_json)
            _run(app, listener, settings.log_level)
    output.note("Stopped.")


def _app(settings: "Settings") -> "FastAPI":
    """Build the server, which opens the database and brings it up to date."""
    from web.app import create_app  # noqa: PLC0415  (as above)

    return create_app(settings)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is created, so that a taken one changes nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Failure(
            f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}",
            hint="choose another with --port; --port 0 takes any free one",
        ) from error
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else "127.0.0.1" if host == "localhost" else host


def _log_in(session: "Session", url: str) -> str | None:
    """Give `hubctl` on this machine a token, unless it has one that works.

    Someone who works with a hub elsewhere keeps that one as the default.
    """
    from registry import accounts  # noqa: PLC0415  (as above)

    credentials = Credentials()
    token = credentials.token(url)
    caller = accounts.authenticate(session, token) if token else None
    name = caller.account.name if caller else accounts.fitting_name(getpass.getuser())
    if caller is None:
        token = accounts.first_account(session, name)
    if token is None:
        account = accounts.find(session, name)
        if account is None or not account.is_operator:
            return None  # the data of another user: log in as anybody does
        token = accounts.create_token(session, account, f"hubctl at {url}", "admin")
    last = credentials.last()
    credentials.store(url, token, name, make_default=last is None or is_local(last))
    return name


def _announce(url: str, settings: "Settings", account: str | None, *, as_json: bool) -> None:
    data = str(settings.data.resolve())
    if as_json:
        output.as_json({"url": url, "data": data, "account": account})
        return
    output.fields(
        [
            ("hub", url),
            ("public address", settings.public_url),
            ("data", data),
            ("logged in as", account),
        ]
    )
    for each in settings.summary():
        if each.source != "default":
            output.note(f"{each.variable}={each.value} ({each.source})")
    output.note("Press Ctrl-C to stop." if account else "Log in with `hubctl login`.")


def _run(app: "FastAPI", listener: socket.socket, log_level: str) -> None:
    import uvicorn  # noqa: PLC0415  (as above)

    from web import logs  # noqa: PLC0415  (as above)

    logs.configure(log_level)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=10, lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])
