"""Follow what operators do: money outside of the providers, the audit log, webhooks of a workflow"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.alter_column("payments", "provider", existing_type=sa.TEXT(), nullable=True)
    op.create_check_constraint(
        op.f("ck_payments_provider_unless_out_of_band"),
        "payments",
        "(provider IS NULL) = (kind = 'out_of_band')",
    )
    op.create_index(
        "uq_payments_out_of_band",
        "payments",
        ["invoice_id", "provider_charge_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'out_of_band'"),
    )
    op.create_index("ix_audit_log_page", "audit_log", ["application_id", "id"], unique=False)
    op.create_index(
        "ix_webhook_events_workflow_id",
        "webhook_events",
        ["workflow_id"],
        unique=False,
        postgresql_where=sa.text("workflow_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(
        "ix_webhook_events_workflow_id",
        table_name="webhook_events",
        postgresql_where=sa.text("workflow_id IS NOT NULL"),
    )
    op.drop_index("ix_audit_log_page", table_name="audit_log")
    op.drop_index(
        "uq_payments_out_of_band",
        table_name="payments",
        postgresql_where=sa.text("kind = 'out_of_band'"),
    )
    op.drop_constraint(op.f("ck_payments_provider_unless_out_of_band"), "payments", type_="check")
    op.alter_column("payments", "provider", existing_type=sa.TEXT(), nullable=False)
