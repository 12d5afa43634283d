"""Run by Alembic. The connection comes from `registry.db`; there is no other configuration."""

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.sql.schema import SchemaItem

from registry.models import Base

INDEX_TABLES = "search_fts"
"""Full-text tables are virtual: SQLite makes their shadows, which no model describes."""


def compares(
    _item: SchemaItem, name: str | None, kind: str, reflected: bool, _compared: SchemaItem | None
) -> bool:
    """Whether autogenerate should compare this with the models."""
    return not (kind == "table" and reflected and (name or "").startswith(INDEX_TABLES))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=compares,
        compare_type=True,
        # SQLite changes a table by writing it anew; Alembic does that only when told to.
        render_as_batch=connection.dialect.name == "sqlite",
        # The caller holds a transaction, so that a failing migration leaves nothing behind.
        transaction_per_migration=False,
    )
    context.run_migrations()


run(context.config.attributes["connection"])
