"""What commands of an operator share: they work on a hub's own data, beside the server.

They take the settings the server takes (`HUB_*`), open the same database and the same blobs, and
call the function of the registry that does the work.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli import output
from cli.failures import Failure
from cli.framework import json_option

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session, sessionmaker

    from registry.backup import BackedUp
    from registry.blobs import BlobStore
    from registry.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class OpenHub:
    """A hub's data, opened."""

    settings: "Settings"
    engine: "Engine"
    blobs: "BlobStore"

    @property
    def sessions(self) -> "sessionmaker[Session]":
        """Writing sessions; one transaction each, with `begin`."""
        from registry import db  # noqa: PLC0415  (as below)

        return db.sessions(self.engine)


def data_option(function: Function) -> Function:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where everything is kept. Else HUB_DATA, ./hub-data.",
    )(function)


def operator_options(function: Function) -> Function:
    """Add --data and --json, which every command of an operator has."""
    return data_option(json_option(function))


def read_settings(data: Path | None, **given: object) -> "Settings":
    """Read the settings of the environment; those given on the command line go before them."""
    try:
        from registry.settings import Settings, problems_of  # noqa: PLC0415  (extra [server])
    except ImportError as error:
        raise Failure(
            f"the server's packages are not installed ({error.name} is missing)",
            hint="pip install 'hubctl[server]'",
        ) from error
    chosen = {"data": data, **given}
    try:
        settings = Settings()
    except ValueError as error:  # pydantic's, which this module need not import
        raise Failure(
            "a setting in the environment cannot be used",
            details=[f"  - {problem}" for problem in problems_of(error)],
            hint="`hubctl admin settings` lists what each means, once they can be read",
        ) from error
    return settings.model_copy(update={k: v for k, v in chosen.items() if v is not None})


@contextmanager
def reaching_database() -> Iterator[None]:
    """Say what a database that does not answer says, and which setting names it."""
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415  (part of the extra [server])

    try:
        yield
    except OperationalError as error:
        reason = " ".join(str(error.orig).split())
        raise Failure(
            f"the database does not do what is asked of it: {reason}",
            hint="HUB_DATABASE_URL, or else the data folder, says where it is",
        ) from error


@contextmanager
def open_hub(
    data: Path | None, *, must_exist: bool = True, must_be_current: bool = True
) -> Iterator[OpenHub]:
    """Open the data of a hub. Raises Failure when there is none, or one of another schema."""
    settings = read_settings(data)
    from registry import db  # noqa: PLC0415  (as above)
    from registry.blobs import open_blobs  # noqa: PLC0415  (as above)

    path = db.file_of(settings.database)
    if must_exist and path is not None and not path.exists():
        raise Failure(
            f"there is no hub in {settings.data}: {path} does not exist",
            hint="name its folder with --data or HUB_DATA, or its database with HUB_DATABASE_URL",
        )
    engine = db.connect(settings.database)
    try:
        with reaching_database():
            if must_exist and must_be_current and not db.is_current(engine):
                raise Failure(
                    "the database has not the schema of this release",
                    hint="run `hubctl admin migrate`",
                )
            yield OpenHub(settings, engine, open_blobs(settings.blobs_url, settings.data / "blobs"))
    finally:
        engine.dispose()


def show_backup(found: "BackedUp") -> None:
    rows = sum(facts["rows"] for facts in found.tables.values())
    output.fields(
        [
            ("made at", f"{found.made_at:%Y-%m-%d %H:%M:%S} UTC"),
            ("schema", found.revision),
            ("rows", rows),
            ("blobs", f"{found.blobs}, {output.size(found.bytes)}"),
        ]
    )
