"""Add purchases, benefits and provider health"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "provider_health",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("last_failure_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("probe_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("provider", "account", name=op.f("pk_provider_health")),
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("provider_product_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_products_amount_not_negative")),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_products_application_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
    )
    op.create_index(
        op.f("ix_products_application_id"), "products", ["application_id"], unique=False
    )
    op.create_table(
        "benefits",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("provider_benefit_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_benefits_application_id")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("fk_benefits_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_benefits")),
    )
    op.create_index(
        op.f("ix_benefits_application_id"), "benefits", ["application_id"], unique=False
    )
    op.create_index(op.f("ix_benefits_product_id"), "benefits", ["product_id"], unique=False)
    op.create_table(
        "purchases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("opening", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_purchases_application_id")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_purchases_organization_id")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("fk_purchases_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchases")),
        sa.UniqueConstraint("workflow_id", name=op.f("uq_purchases_workflow_id")),
    )
    op.create_index(
        op.f("ix_purchases_organization_id"), "purchases", ["organization_id"], unique=False
    )
    op.create_index("ix_purchases_page", "purchases", ["application_id", "id"], unique=False)
    op.create_table(
        "benefit_grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("benefit_id", sa.Uuid(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_grant_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["applications.id"], name=op.f("fk_benefit_grants_application_id")
        ),
        sa.ForeignKeyConstraint(
            ["benefit_id"], ["benefits.id"], name=op.f("fk_benefit_grants_benefit_id")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_benefit_grants_organization_id"),
        ),
        sa.ForeignKeyConstraint(
            ["purchase_id"], ["purchases.id"], name=op.f("fk_benefit_grants_purchase_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_benefit_grants")),
        sa.UniqueConstraint(
            "organization_id",
            "benefit_id",
            name=op.f("uq_benefit_grants_organization_id_benefit_id"),
        ),
    )
    op.create_index(
        op.f("ix_benefit_grants_application_id"), "benefit_grants", ["application_id"], unique=False
    )
    op.add_column("audit_log", sa.Column("purchase_id", sa.Uuid(), nullable=True))
    op.alter_column("audit_log", "subscription_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(op.f("ix_audit_log_purchase_id"), "audit_log", ["purchase_id"], unique=False)
    op.create_foreign_key(
        op.f("fk_audit_log_purchase_id"), "audit_log", "purchases", ["purchase_id"], ["id"]
    )
    op.add_column("charge_attempts", sa.Column("purchase_id", sa.Uuid(), nullable=True))
    op.alter_column("charge_attempts", "subscription_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(
        op.f("ix_charge_attempts_purchase_id"), "charge_attempts", ["purchase_id"], unique=False
    )
    op.create_foreign_key(
        op.f("fk_charge_attempts_purchase_id"),
        "charge_attempts",
        "purchases",
        ["purchase_id"],
        ["id"],
    )
    op.add_column("fallback_events", sa.Column("purchase_id", sa.Uuid(), nullable=True))
    op.alter_column("fallback_events", "subscription_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(
        op.f("ix_fallback_events_purchase_id"), "fallback_events", ["purchase_id"], unique=False
    )
    op.create_foreign_key(
        op.f("fk_fallback_events_purchase_id"),
        "fallback_events",
        "purchases",
        ["purchase_id"],
        ["id"],
    )
    op.add_column("invoices", sa.Column("purchase_id", sa.Uuid(), nullable=True))
    op.alter_column("invoices", "subscription_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(op.f("ix_invoices_purchase_id"), "invoices", ["purchase_id"], unique=False)
    op.create_foreign_key(
        op.f("fk_invoices_purchase_id"), "invoices", "purchases", ["purchase_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_invoices_one_owner"), "invoices", "num_nonnulls(subscription_id, purchase_id) = 1"
    )
    op.add_column("outbound_events", sa.Column("purchase_id", sa.Uuid(), nullable=True))
    op.alter_column("outbound_events", "subscription_id", existing_type=sa.UUID(), nullable=True)
    op.create_unique_constraint(
        op.f("uq_outbound_events_purchase_id_sequence"),
        "outbound_events",
        ["purchase_id", "sequence"],
    )
    op.create_foreign_key(
        op.f("fk_outbound_events_purchase_id"),
        "outbound_events",
        "purchases",
        ["purchase_id"],
        ["id"],
    )
    op.add_column("payments", sa.Column("purchase_id", sa.Uuid(), nullable=True))
    op.alter_column("payments", "subscription_id", existing_type=sa.UUID(), nullable=True)
    op.create_index(op.f("ix_payments_purchase_id"), "payments", ["purchase_id"], unique=False)
    op.create_foreign_key(
        op.f("fk_payments_purchase_id"), "payments", "purchases", ["purchase_id"], ["id"]
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_constraint(op.f("fk_payments_purchase_id"), "payments", type_="foreignkey")
    op.drop_index(op.f("ix_payments_purchase_id"), table_name="payments")
    op.alter_column("payments", "subscription_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("payments", "purchase_id")
    op.drop_constraint(
        op.f("fk_outbound_events_purchase_id"), "outbound_events", type_="foreignkey"
    )
    op.drop_constraint(
        op.f("uq_outbound_events_purchase_id_sequence"), "outbound_events", type_="unique"
    )
    op.alter_column("outbound_events", "subscription_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("outbound_events", "purchase_id")
    op.drop_constraint(op.f("fk_invoices_purchase_id"), "invoices", type_="foreignkey")
    op.drop_index(op.f("ix_invoices_purchase_id"), table_name="invoices")
    op.alter_column("invoices", "subscription_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("invoices", "purchase_id")
    op.drop_constraint(
        op.f("fk_fallback_events_purchase_id"), "fallback_events", type_="foreignkey"
    )
    op.drop_index(op.f("ix_fallback_events_purchase_id"), table_name="fallback_events")
    op.alter_column("fallback_events", "subscription_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("fallback_events", "purchase_id")
    op.drop_constraint(
        op.f("fk_charge_attempts_purchase_id"), "charge_attempts", type_="foreignkey"
    )
    op.drop_index(op.f("ix_charge_attempts_purchase_id"), table_name="charge_attempts")
    op.alter_column("charge_attempts", "subscription_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("charge_attempts", "purchase_id")
    op.drop_constraint(op.f("fk_audit_log_purchase_id"), "audit_log", type_="foreignkey")
    op.drop_index(op.f("ix_audit_log_purchase_id"), table_name="audit_log")
    op.alter_column("audit_log", "subscription_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("audit_log", "purchase_id")
    op.drop_index(op.f("ix_benefit_grants_application_id"), table_name="benefit_grants")
    op.drop_table("benefit_grants")
    op.drop_index("ix_purchases_page", table_name="purchases")
    op.drop_index(op.f("ix_purchases_organization_id"), table_name="purchases")
    op.drop_table("purchases")
    op.drop_index(op.f("ix_benefits_product_id"), table_name="benefits")
    op.drop_index(op.f("ix_benefits_application_id"), table_name="benefits")
    op.drop_table("benefits")
    op.drop_index(op.f("ix_products_application_id"), table_name="products")
    op.drop_table("products")
    op.drop_table("provider_health")
