"""Find by what users filter: lists are ordered by id, and every filter of theirs has an index"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NEW = (
    ("ix_subscriptions_status", "subscriptions", ["application_id", "status", "id"]),
    ("ix_subscriptions_plan", "subscriptions", ["plan_id", "id"]),
    ("ix_invoices_status", "invoices", ["application_id", "status", "id"]),
    ("ix_invoices_organization", "invoices", ["organization_id", "id"]),
    ("ix_invoices_invoice_date", "invoices", ["application_id", "invoice_date"]),
    ("ix_invoices_due_date", "invoices", ["application_id", "due_date"]),
    ("ix_purchases_status", "purchases", ["application_id", "status", "id"]),
    ("ix_purchases_product", "purchases", ["product_id", "id"]),
    ("ix_outbound_events_type", "outbound_events", ["application_id", "type", "id"]),
    ("ix_payments_occurred_at", "payments", ["application_id", "occurred_at"]),
)
# The longer index does what the one on the application alone did.
PAGED = ("organizations", "payment_methods", "payments")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name, table, columns in NEW:
        op.create_index(name, table, columns)
    for table in PAGED:
        op.create_index(f"ix_{table}_page", table, ["application_id", "id"])
        op.drop_index(f"ix_{table}_application_id", table_name=table)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in PAGED:
        op.create_index(f"ix_{table}_application_id", table, ["application_id"])
        op.drop_index(f"ix_{table}_page", table_name=table)
    for name, table, _ in NEW:
        op.drop_index(name, table_name=table)
