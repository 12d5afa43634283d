"""What the counts of facets must read anew

Revision: 0007
Follows: 0006

Every process counts in arrays of its own (`registry.facet_cube`). Triggers stamp each adapter whose
facets, owner or visibility changed; what has a stamp later than the last look is read again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STAMP = "(select coalesce(max(stamp), 0) + 1 from search_changes)"
"""On SQLite, where writers follow one another."""
NOTE = """insert into search_changes (adapter_id, stamp) values ({adapter}, {stamp})
    on conflict (adapter_id) do update set stamp = excluded.stamp;"""
EVENTS = (
    ("facets_new", "insert on search_documents", "new.adapter_id"),
    ("facets_changed", "update of facet_tokens on search_documents", "new.adapter_id"),
    ("reader_changed", "update of visibility, owner_id, removed_at on adapters", "new.id"),
)


def upgrade() -> None:
    op.create_table(
        "search_changes",
        sa.Column("adapter_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stamp", sa.BigInteger, nullable=False, index=True),
    )
    for name, event, adapter in EVENTS:
        if op.get_bind().dialect.name == "sqlite":
            _execute(
                f"create trigger search_{name} after {event} "
                f"begin {NOTE.format(adapter=adapter, stamp=STAMP)} end"
            )
            continue
        note = NOTE.format(adapter=adapter, stamp="pg_current_xact_id()::text::bigint")
        _execute(
            f"create function search_{name}() returns trigger language plpgsql as $$ "
            f"begin {note} return null; end $$"
        )
        _execute(
            f"create trigger search_{name} after {event} "
            f"for each row execute function search_{name}()"
        )


def downgrade() -> None:
    for name, event, _ in EVENTS:
        if op.get_bind().dialect.name == "sqlite":
            _execute(f"drop trigger search_{name}")
        else:
            _execute(f"drop trigger search_{name} on {event.rpartition(' ')[2]}")
            _execute(f"drop function search_{name}()")
    op.drop_table("search_changes")


def _execute(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)
