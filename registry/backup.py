"""Backups: everything a hub holds, in a folder that either database can be made from.

    hub.json              what the backup is; written last, so a backup without it is none
    tables-<id>/*.jsonl   the rows, one JSON object a line
    blobs/                the bytes, as a hub keeps them in a folder

The rows are read in one transaction that sees one state of the database (a snapshot on PostgreSQL,
a reading transaction on SQLite), while the hub goes on publishing. Blobs never change, and garbage
is not collected meanwhile; so those the rows name are still there when they are copied afterwards.
One format of our own, and not the databases' tools: it needs nothing installed, it can be checked
line by line, and a hub can move from SQLite to PostgreSQL, or from a folder to a bucket, by it.
A second backup into the same folder copies only the blobs that are new.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.sql.sqltypes import DateTime

from registry import db
from registry.blobs import BlobStore, FolderBlobs
from registry.blobs.folder import sync_folder
from registry.errors import BackupFailed, BlobMissing, DigestMismatch
from registry.models import Base, SearchChange
from registry.tables import now

SCHEMA = "hub.backup/1"
DESCRIPTION = "hub.json"
ROWS_AT_ONCE = 1_000
LEFT_TO_TRIGGERS = frozenset({SearchChange.__tablename__})
"""Tables that fill themselves while the others are restored, with numbers of that database."""

Row = dict[str, Any]


@dataclass(frozen=True)
class BackedUp:
    """What a backup holds."""

    revision: str
    """Of the database's schema."""
    made_at: datetime
    folder: str
    tables: dict[str, dict[str, Any]]
    """Name -> number of rows, and sha256 of its file."""
    blobs: int
    bytes: int

    def json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **vars(self), "made_at": self.made_at.isoformat()}


# --- making one ----------------------------------------------------------------------------------


def back_up(engine: Engine, blobs: BlobStore, target: Path) -> BackedUp:
    """Copy rows and blobs to a folder, new or that of an earlier backup, beside a running hub.

    Raises BackupFailed if a blob that is needed is missing or damaged; an earlier backup in the
    folder then still stands.
    """
    before = _read_description(target) if (target / DESCRIPTION).exists() else None
    name = f"tables-{secrets.token_hex(4)}"
    target.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what is private
    (target / name).mkdir()
    try:
        with db.alone(engine):
            tables = _write_tables(engine, target / name)
            count, size = _copy_blobs(target / name, blobs, FolderBlobs(target / "blobs"))
            sync_folder(target / name)
    except BaseException:
        shutil.rmtree(target / name)
        raise
    done = BackedUp(str(db.head()), now(), name, tables, count, size)
    _write(target / f"{DESCRIPTION}.new", json.dumps(done.json(), indent=2).encode())
    (target / f"{DESCRIPTION}.new").replace(target / DESCRIPTION)
    sync_folder(target)
    if before is not None:
        shutil.rmtree(target / before.folder, ignore_errors=True)
    return done


def _write_tables(engine: Engine, folder: Path) -> dict[str, dict[str, Any]]:
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**{db.READS: True}, **level) as connection:
        return {
            table.name: _write_table(connection, table, folder)
            for table in Base.metadata.sorted_tables
            if table.name not in LEFT_TO_TRIGGERS
        }


def _write_table(connection: Connection, table: Table, folder: Path) -> dict[str, Any]:
    rows, digest = 0, hashlib.sha256()
    by_key = select(table).order_by(*table.primary_key)
    with (folder / f"{table.name}.jsonl").open("wb") as file:
        for row in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(by_key).mappings():
            line = json.dumps(dict(row), default=datetime.isoformat, ensure_ascii=False) + "\n"
            file.write(line.encode())
            digest.update(line.encode())
            rows += 1
        file.flush()
        os.fsync(file.fileno())
    return {"rows": rows, "sha256": digest.hexdigest()}


def _copy_blobs(tables: Path, source: BlobStore, target: FolderBlobs) -> tuple[int, int]:
    count = size = 0
    for row in _rows(tables, "blobs"):
        if not _is_there(target, row):
            _copy(source, target, row)
        count, size = count + 1, size + row["size"]
    return count, size


def _is_there(target: FolderBlobs, row: Row) -> bool:
    path = target.path(row["sha256"])
    return path.is_file() and path.stat().st_size == row["size"]


def _copy(source: BlobStore, target: BlobStore, row: Row) -> None:
    try:
        target.store(
            source.stream(row["sha256"]),
            expected_sha256=row["sha256"],
            expected_size=row["size"],
        )
    except (BlobMissing, DigestMismatch) as error:
        raise BackupFailed(
            f"the blob {row['sha256']} is missing or damaged ({error}); 'hubctl admin scrub' says "
            "which versions suffer, and pushing their files again mends it"
        ) from error


# --- checking one --------------------------------------------------------------------------------


def verify(source: Path) -> BackedUp:
    """Read a whole backup: every line, every byte of every blob. Raises BackupFailed."""
    found = _read_description(source)
    _check_tables(source, found)
    tables, blobs = source / found.folder, FolderBlobs(source / "blobs")
    known = set()
    for row in _rows(tables, "blobs"):
        known.add(row["sha256"])
        _check_blob(blobs, row)
    for row in _rows(tables, "revision_files"):
        if row["sha256"] not in known:
            raise BackupFailed(f"the file {row['path']} refers to a blob that is not in the backup")
    return found


def _check_tables(source: Path, found: BackedUp) -> None:
    for name, facts in found.tables.items():
        path = source / found.folder / f"{name}.jsonl"
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise BackupFailed(f"{path} is missing") from error
        if digest != facts["sha256"]:
            raise BackupFailed(f"{path} is damaged: it has not the sha256 that {DESCRIPTION} names")


def _check_blob(blobs: FolderBlobs, row: Row) -> None:
    try:
        with blobs.path(row["sha256"]).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise BackupFailed(f"the blob {row['sha256']} is missing") from error
    if digest != row["sha256"]:
        raise BackupFailed(f"{blobs.path(row['sha256'])} is damaged: its sha256 is {digest}")


def _read_description(source: Path) -> BackedUp:
    path = source / DESCRIPTION
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BackupFailed(f"{source} is no backup: it has no {DESCRIPTION}") from error
    except ValueError as error:
        raise BackupFailed(f"{path} cannot be read") from error
    if document.pop("schema", None) != SCHEMA:
        raise BackupFailed(f"{path} is not of the form {SCHEMA}, which this release reads")
    return BackedUp(**document | {"made_at": datetime.fromisoformat(document["made_at"])})


def _rows(tables: Path, name: str) -> Iterator[Row]:
    with (tables / f"{name}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


# --- restoring -----------------------------------------------------------------------------------


def restore(source: Path, engine: Engine, blobs: BlobStore) -> BackedUp:
    """Make a hub from a backup, which may be of an older schema, in an empty database.

    Everything is checked while it is read. The rows come last and in one transaction: when it is
    cut, the database is still empty, and the same can be done again.

    Raises BackupFailed.
    """
    found = verify(source)
    if db.revision(engine) is not None:
        raise BackupFailed("the database to restore to is not empty; name a new one")
    kept = FolderBlobs(source / "blobs")
    for row in _rows(source / found.folder, "blobs"):
        _copy(kept, blobs, row)
    with engine.begin() as connection:
        db.migrate_connection(connection, found.revision)
        _fill(connection, source / found.folder, found)
        db.migrate_connection(connection, "head")
    return found


def _fill(connection: Connection, tables: Path, found: BackedUp) -> None:
    schema = MetaData()
    schema.reflect(connection, only=list(found.tables))
    for table in reversed(schema.sorted_tables):
        _clear(connection, table)  # what migrations put there
    for table in schema.sorted_tables:
        _clear(connection, table)  # what triggers put there
        batch: list[Row] = []
        readers = {column.name: _reader(column) for column in table.columns}
        for row in _rows(tables, table.name):
            batch.append({name: readers[name](value) for name, value in row.items()})
            if len(batch) == ROWS_AT_ONCE:
                connection.execute(insert(table), batch)
                batch.clear()
        if batch:
            connection.execute(insert(table), batch)
        if connection.dialect.name == "postgresql":
            _go_on_counting(connection, table)


def _clear(connection: Connection, table: Table) -> None:
    """Remove rows that are in the backup too, as they were. (Of some tables nothing may go.)"""
    if connection.execute(select(table.primary_key.columns[0]).limit(1)).first() is not None:
        connection.execute(delete(table))


def _reader(column: Column[Any]) -> Callable[[Any], Any]:
    """Return what makes a column's value of the JSON one."""
    if isinstance(column.type, JSON) and column.nullable:
        column.type.none_as_null = True  # else it would become the word `null`
    if isinstance(column.type, DateTime):
        return lambda value: None if value is None else datetime.fromisoformat(value)
    return lambda value: value


def _go_on_counting(connection: Connection, table: Table) -> None:
    """Let a sequence go on after the numbers that were restored."""
    for column in table.primary_key:
        of = {"table": table.name, "column": column.name}
        sequence = connection.scalar(text("select pg_get_serial_sequence(:table, :column)"), of)
        last = connection.scalar(select(func.max(column))) if sequence else None
        if last is not None:
            connection.execute(
                text("select setval(:sequence, :last)"), {"sequence": sequence, "last": last}
            )


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
