"""What an operator may set, by environment variables that begin with `HUB_`."""

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from registry.acceptance import MIB, Limits
from registry.quotas import Quotas

PREFIX = "HUB_"

_FORMS = {
    "database_url": (
        re.compile(r"(sqlite|postgres|postgresql)(\+\w+)?://"),
        "postgresql+psycopg://user@host/name or sqlite:///file",
    ),
    "blobs_url": (re.compile(r"[a-z][a-z0-9+.]*://."), "s3://bucket/folder, gs://... or az://..."),
    "public_url": (re.compile(r"https?://[^/]"), "https://hub.example.org"),
}
"""How addresses begin, and an example, by setting."""
_USERINFO = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


@dataclass(frozen=True)
class Setting:
    """One setting as it is shown: never a secret."""

    variable: str
    value: str
    source: Literal["default", "environment", "command line"]
    meaning: str


class Settings(BaseSettings):
    """Everything has a default with which a hub works on one machine, in one folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", use_attribute_docstrings=True
    )

    data: Path = Path("hub-data")
    """Where the embedded database, the blobs and the secret lie unless told otherwise."""
    database_url: str | None = None
    """A SQLAlchemy URL; None: SQLite inside `data`."""
    blobs_url: str | None = None
    """`s3://...`, `gs://...`, `az://...`; None: a folder inside `data`."""
    public_url: str | None = None
    """Scheme and host that clients use; None: those of each request."""
    secret: SecretStr | None = None
    """Signs upload addresses and sessions; every worker of one hub needs the same."""

    migrate_on_start: bool = True
    """Workers that start together migrate once. Turn it off to run `hubctl admin migrate` first."""

    inline_limit: int = Field(64 * MIB, ge=1)
    """Largest file that may travel inside a commit. Above it a client must use LFS."""
    file_limit: int = Field(2 * 1024 * MIB, ge=1)
    """Bytes of one file."""
    revision_files: int = Field(2_000, ge=1)
    """Files of one revision."""
    revision_bytes: int = Field(20 * 1024 * MIB, ge=1)
    """Bytes of one revision."""
    version_files: int = Field(64, ge=1)
    """Files of a revision that gets a version number."""
    owner_bytes: int | None = Field(None, ge=0)
    """Bytes that one owner's adapters may take together, equal files counted once; None: no end."""
    owner_adapters: int | None = Field(None, ge=0)
    """Adapters that one owner may have; None: no end."""
    multipart_above: int = Field(256 * MIB, ge=1)
    """Larger LFS objects are sent in parts, so that a cut costs one part."""
    part_size: int = Field(64 * MIB, ge=1)
    """Bytes of one such part."""
    evidence_limit: int = Field(64 * MIB, ge=1)
    """Largest file that may be sent as the evidence of a verified score."""
    upload_lifetime: int = Field(3600, ge=1)
    """Seconds for which a signed upload address is valid."""
    redirect_downloads: bool = False
    """Send clients to the bucket for file contents. Needs a bucket they can reach."""
    page_size: int = Field(100, ge=1, le=1000)
    """Adapters on one page of a list that a Hub client asks for."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`info` logs each request as one line of JSON, on standard error."""
    metrics_token: SecretStr | None = None
    """What `/metrics` asks for as a bearer token; None: everybody may read it."""

    @field_validator(*_FORMS)
    @classmethod
    def _has_its_form(cls, url: str | None, info: ValidationInfo) -> str | None:
        form, example = _FORMS[str(info.field_name)]
        if url is not None and not form.match(url):
            raise ValueError(f"it reads like {example}")
        return url

    @property
    def database(self) -> str:
        if self.database_url is not None:
            return self.database_url
        return f"sqlite:///{self.data.resolve() / 'hub.sqlite3'}"

    @property
    def limits(self) -> Limits:
        return Limits(self.file_limit, self.revision_files, self.revision_bytes)

    @property
    def quotas(self) -> Quotas:
        return Quotas(self.owner_bytes, self.owner_adapters)

    def summary(self) -> list[Setting]:
        """Return every setting with its value, where that comes from, and what it means."""
        return [
            Setting(
                variable=PREFIX + name.upper(),
                value=_shown(getattr(self, name)),
                source=self._source(name),
                meaning=" ".join((field.description or "").split()),
            )
            for name, field in type(self).model_fields.items()
        ]

    def _source(self, name: str) -> Literal["default", "environment", "command line"]:
        if name not in self.model_fields_set:
            return "default"
        read = type(self)().model_dump()[name] if PREFIX + name.upper() in os.environ else None
        return "environment" if read == getattr(self, name) else "command line"

    def signing_key(self) -> bytes:
        """Return the secret; without one, make it once and keep it in the data folder."""
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        path = self.data / "secret"
        if not path.exists():
            self.data.mkdir(parents=True, exist_ok=True)
            _create_once(path, secrets.token_hex(32).encode())
        return path.read_bytes()


def problems_of(error: ValueError) -> list[str]:
    """Return a line for each variable that could not be read, without its value: it may be secret.

    Raises the error again if it is of another kind.
    """
    if not isinstance(error, ValidationError):
        raise error
    return [
        f"{PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    ]


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, SecretStr):
        return "set, not shown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    # A database's address may hold its password.
    return _USERINFO.sub(r"\1:***@", str(value)).partition("?")[0]


def _create_once(path: Path, content: bytes) -> None:
    """Write a file that only we may read, whole or not at all, unless another worker was first."""
    with NamedTemporaryFile(dir=path.parent) as draft:  # its mode is 0600
        draft.write(content)
        draft.flush()
        with suppress(FileExistsError):
            os.link(draft.name, path)
