"""An index that a name is completed from

Revision: 0008
Follows: 0007

Names that hold the beginning of a word are met on a walk by popularity. PostgreSQL reads whole rows
on such a walk, cards and all, unless an index holds the words of the names beside the order.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("create index search_fts_walk on search_fts (id) include (names)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("drop index search_fts_walk")
