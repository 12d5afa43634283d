"""${message}

Revision: ${up_revision}
Follows: ${down_revision | comma,n}

Before you land this: the previous release of the server may still run against the new schema, so add
and do not rename or drop in one step; a lock on a large table stops every publish, so fill new
columns in batches; write `downgrade` and let tests/registry/test_migrations.py run it with data.
"""

from alembic import op
import sqlalchemy as sa
import registry.models
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
