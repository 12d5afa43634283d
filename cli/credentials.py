"""Which hub to talk to, and with whose token. Tokens are kept per server URL, mode 0600.

A token never travels to a server it was not stored for: `HF_TOKEN` is used only when `HF_ENDPOINT`
names the very server we talk to.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.failures import Failure

LOOPBACK = ("127.", "[::1]")

DEFAULT_ENDPOINT = "http://127.0.0.1:8000"


def normalise(url: str) -> str:
    """Return the form under which a server's token is kept: scheme, host, port and path.

    >>> normalise("HTTP://localhost:8000/")
    'http://127.0.0.1:8000'
    """
    text = url.strip()
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = None
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or port is None:
        hint = f"it reads like {DEFAULT_ENDPOINT}"
        raise Failure(f"{url!r} is not the address of a hub", hint=hint)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{host}{port}{parts.path.rstrip('/')}"


def default_file() -> Path:
    """`HUBCTL_CREDENTIALS`, or `hubctl/credentials.json` where the user's settings live."""
    if named := os.environ.get("HUBCTL_CREDENTIALS"):
        return Path(named)
    settings = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(settings) / "hubctl" / "credentials.json"


def is_local(url: str) -> bool:
    """Whether a normalised URL names this machine."""
    return url.partition("://")[2].startswith(LOOPBACK)


@dataclass
class Credentials:
    """The stored log-ins: server URL -> {"token", "account"}, and the last one used to log in."""

    file: Path = field(default_factory=default_file)

    def token(self, endpoint: str) -> str | None:
        entry = self._read()["servers"].get(normalise(endpoint))
        return None if entry is None else str(entry["token"])

    def last(self) -> str | None:
        last: str | None = self._read()["last"]
        return last

    def store(self, endpoint: str, token: str, account: str, *, make_default: bool = True) -> None:
        stored = self._read()
        url = normalise(endpoint)
        stored["servers"][url] = {"token": token, "account": account}
        stored["last"] = url if make_default else stored["last"]
        self._write(stored)

    def forget(self, endpoint: str) -> bool:
        """Remove a log-in; False when there was none."""
        stored = self._read()
        url = normalise(endpoint)
        known = stored["servers"].pop(url, None) is not None
        if stored["last"] == url:
            stored["last"] = None
        if known:
            self._write(stored)
        return known

    def _read(self) -> dict[str, Any]:
        try:
            stored = json.loads(self.file.read_bytes())
            return {"last": stored.get("last"), "servers": dict(stored["servers"])}
        except FileNotFoundError:
            return {"last": None, "servers": {}}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Failure(
                f"{self.file} cannot be read: {error}",
                hint="delete it and run `hubctl login` again",
            ) from error

    def _write(self, stored: Mapping[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp creates the file with mode 0600, so the token is never readable by others.
        handle, name = tempfile.mkstemp(dir=self.file.parent, prefix=".credentials-")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(stored, out, indent=2)
        Path(name).replace(self.file)


def choose_endpoint(given: str | None, credentials: Credentials) -> str:
    """Return the hub to talk to.

    That is the one given, else HUBCTL_ENDPOINT, HF_ENDPOINT, the hub last logged in to, and at
    last the usual one of this machine.
    """
    return normalise(_named(given) or credentials.last() or DEFAULT_ENDPOINT)


def is_chosen(given: str | None) -> bool:
    """Whether the command line or the environment names a hub."""
    return _named(given) is not None


def _named(given: str | None) -> str | None:
    candidates = (given, os.environ.get("HUBCTL_ENDPOINT"), os.environ.get("HF_ENDPOINT"))
    return next((url for url in candidates if url), None)


def check_token(text: str) -> str:
    """Return a token without the space around it. Raises Failure for what no header can carry."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Failure(
            "no token was given" if not token else "this cannot be a token",
            hint="pass it by HUBCTL_TOKEN, or to `hubctl login` with --token or by a pipe",
            code="not_authenticated",
        )
    return token


def choose_token(endpoint: str, credentials: Credentials) -> str | None:
    if token := os.environ.get("HUBCTL_TOKEN"):
        return check_token(token)
    if token := credentials.token(endpoint):
        return token
    hub = os.environ.get("HF_ENDPOINT")
    if hub and normalise(hub) == normalise(endpoint):
        token = os.environ.get("HF_TOKEN")
        return check_token(token) if token else None
    return None
