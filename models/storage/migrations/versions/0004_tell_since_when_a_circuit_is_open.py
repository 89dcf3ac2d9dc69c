"""Tell since when a circuit is open, and why"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "provider_health", sa.Column("open_since", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("provider_health", sa.Column("last_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("provider_health", "last_reason")
    op.drop_column("provider_health", "open_since")
