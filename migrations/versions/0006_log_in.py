"""Log-in by browser: what a token is for, accounts that are closed, log-ins that failed

Revision: 0006
Follows: 0005
"""

import sqlalchemy as sa
from alembic import op

from registry.tables import Id, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The database's own default, for rows that are there already.
    op.add_column(
        "tokens", sa.Column("purpose", sa.String(16), nullable=False, server_default="access")
    )
    op.add_column("accounts", sa.Column("disabled_at", UtcDateTime()))
    op.create_table(
        "login_failures",
        sa.Column("id", Id, nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_failures")),
    )
    op.create_index("ix_login_failures_subject_at", "login_failures", ["subject", "at"])


def downgrade() -> None:
    op.drop_table("login_failures")
    op.drop_column("accounts", "disabled_at")
    # Browser sessions and invitations would otherwise turn into tokens that anybody may send.
    op.execute("delete from tokens where purpose <> 'access'")
    op.drop_column("tokens", "purpose")
