"""Keep what reconciliation finds, and count usage against the limits of plans"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "reconciliation_runs",
        _id(),
        _text("provider"),
        _text("account"),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        _time("since"),
        _time("started_at"),
        _time("finished_at", nullable=True),
        _text("status"),
        sa.Column("cursor", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        _number("objects"),
        _number("repaired"),
        _number("left_over"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_runs")),
    )
    op.create_index(
        "ix_reconciliation_runs_provider",
        "reconciliation_runs",
        ["provider", "account", "started_at"],
        unique=False,
    )
    op.create_table(
        "reconciliation_findings",
        _id(),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        _text("provider"),
        _text("account"),
        _text("kind"),
        _text("object_id"),
        sa.Column("application_id", sa.Uuid(), nullable=True),
        sa.Column("subscription_id", sa.Uuid(), nullable=True),
        sa.Column("purchase_id", sa.Uuid(), nullable=True),
        _text("theirs"),
        _text("ours"),
        _text("status"),
        sa.Column("listed", postgresql.JSONB(), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=True),
        _time("found_at"),
        _time("settled_at", nullable=True),
        _reference("reconciliation_findings", "run_id", "reconciliation_runs"),
        _reference("reconciliation_findings", "application_id", "applications"),
        _reference("reconciliation_findings", "subscription_id", "subscriptions"),
        _reference("reconciliation_findings", "purchase_id", "purchases"),
        _reference("reconciliation_findings", "inbox_id", "webhook_events"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_findings")),
    )
    op.create_index(
        "uq_reconciliation_findings_drift",
        "reconciliation_findings",
        ["provider", "account", "kind", "object_id", "theirs"],
        unique=True,
        postgresql_where=sa.text("NOT dry_run"),
    )
    op.create_index(
        "ix_reconciliation_findings_run_id", "reconciliation_findings", ["run_id"], unique=False
    )
    op.create_index(
        op.f("ix_reconciliation_findings_application_id"),
        "reconciliation_findings",
        ["application_id"],
        unique=False,
    )
    op.create_table(
        "usage_counters",
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        _text("metric"),
        _time("period_start"),
        _number("quantity"),
        _time("updated_at"),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_usage_counters_quantity_not_negative")),
        _reference("usage_counters", "application_id", "applications"),
        _reference("usage_counters", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint(
            "organization_id", "metric", "period_start", name=op.f("pk_usage_counters")
        ),
    )
    op.create_table(
        "usage_events",
        _id(),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        _text("event_id"),
        _text("metric"),
        _number("quantity"),
        _number("used_after"),
        _time("period_start"),
        _time("occurred_at"),
        _time("recorded_at"),
        _reference("usage_events", "application_id", "applications"),
        _reference("usage_events", "organization_id", "organizations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_events")),
        sa.UniqueConstraint(
            "organization_id", "event_id", name=op.f("uq_usage_events_organization_id_event_id")
        ),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("usage_events")
    op.drop_table("usage_counters")
    op.drop_table("reconciliation_findings")
    op.drop_table("reconciliation_runs")


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.Uuid(), nullable=False)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _reference(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))
