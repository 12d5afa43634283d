"""Why a version is not live; an audit log that cannot be edited

Revision: 0004
Follows: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

REFUSAL = "the audit log is only ever added to"

SQLITE = (
    f"""create trigger audit_log_no_update before update on audit_log
    begin select raise(abort, '{REFUSAL}'); end""",
    f"""create trigger audit_log_no_delete before delete on audit_log
    begin select raise(abort, '{REFUSAL}'); end""",
)
SQLITE_DOWN = (
    "drop trigger audit_log_no_update",
    "drop trigger audit_log_no_delete",
)
POSTGRESQL = (
    f"""create function audit_log_refuse() returns trigger language plpgsql as $$ begin
    raise exception '{REFUSAL}'; end $$""",
    """create trigger audit_log_no_change before update or delete or truncate on audit_log
    for each statement execute function audit_log_refuse()""",
)
POSTGRESQL_DOWN = (
    "drop trigger audit_log_no_change on audit_log",
    "drop function audit_log_refuse()",
)


def upgrade() -> None:
    op.add_column("versions", sa.Column("state_reason", sa.String(500)))
    op.create_index("ix_audit_log_subject", "audit_log", ["subject"])
    for statement in SQLITE if _is_sqlite() else POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    for statement in SQLITE_DOWN if _is_sqlite() else POSTGRESQL_DOWN:
        op.execute(statement)
    op.drop_index("ix_audit_log_subject", "audit_log")
    op.drop_column("versions", "state_reason")


def _is_sqlite() -> bool:
    return bool(op.get_bind().dialect.name == "sqlite")
