"""What an operator may set, by environment variables that begin with `HUB_`."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from registry.acceptance import MIB, Limits


class Settings(BaseSettings):
    """Everything has a default with which a hub works on one machine, in one folder."""

    model_config = SettingsConfigDict(env_prefix="HUB_", extra="ignore")

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
    revision_files: int = Field(2_000, ge=1)
    revision_bytes: int = Field(20 * 1024 * MIB, ge=1)
    version_files: int = Field(64, ge=1)
    multipart_above: int = Field(256 * MIB, ge=1)
    """Larger LFS objects are sent in parts, so that a cut costs one part."""
    part_size: int = Field(64 * MIB, ge=1)
    evidence_limit: int = Field(64 * MIB, ge=1)
    """Largest file that may be sent as the evidence of a verified score."""
    upload_lifetime: int = Field(3600, ge=1)
    """Seconds for which a signed upload address is valid."""
    redirect_downloads: bool = False
    """Send clients to the bucket for file contents. Needs a bucket they can reach."""
    page_size: int = Field(100, ge=1, le=1000)

    @property
    def database(self) -> str:
        if self.database_url is not None:
            return self.database_url
        return f"sqlite:///{self.data.resolve() / 'hub.sqlite3'}"

    @property
    def limits(self) -> Limits:
        return Limits(self.file_limit, self.revision_files, self.revision_bytes)

    def signing_key(self) -> bytes:
        """Return the secret; without one, make it once and keep it in the data folder."""
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        path = self.data / "secret"
        if not path.exists():
            self.data.mkdir(parents=True, exist_ok=True)
            _create_once(path, secrets.token_hex(32).encode())
        return path.read_bytes()


def _create_once(path: Path, content: bytes) -> None:
    """Write a file that only we may read, whole or not at all, unless another worker was first."""
    with NamedTemporaryFile(dir=path.parent) as draft:  # its mode is 0600
        draft.write(content)
        draft.flush()
        with suppress(FileExistsError):
            os.link(draft.name, path)
