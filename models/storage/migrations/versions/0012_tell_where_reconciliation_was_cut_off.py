"""Tell since when a chain of reconciliation runs goes on, and why one was cut off"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    moment = sa.DateTime(timezone=True)
    op.add_column("reconciliation_runs", sa.Column("chain_started_at", moment, nullable=True))
    op.execute("UPDATE reconciliation_runs SET chain_started_at = started_at")
    op.alter_column("reconciliation_runs", "chain_started_at", nullable=False)
    false = sa.text("false")
    op.add_column(
        "reconciliation_runs",
        sa.Column("is_aside", sa.Boolean, nullable=False, server_default=false),
    )
    op.add_column("reconciliation_runs", sa.Column("stopped_by", sa.Text, nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in ("stopped_by", "is_aside", "chain_started_at"):
        op.drop_column("reconciliation_runs", name)
