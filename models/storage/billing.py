"""Plans, subscriptions, invoices, and the ledgers of tries and of money."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class SubscriptionPlan(Base):
    __tablename__ = "subscription_plans"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"), index=True)
    name: Mapped[str]
    description: Mapped[str | None]
    features: Mapped[list[str]]
    limits: Mapped[dict[str, int]]
    trial_days: Mapped[int]
    # What differs from models.billing_policy.BillingPolicy: dunning, lead times, graces.
    billing_policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    is_active: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class PlanPrice(Base):
    """What a plan costs in one currency and interval; `provider_plan_ids` fills on first use."""

    __tablename__ = "plan_prices"
    __table_args__ = (
        UniqueConstraint("plan_id", "currency", "billing_interval"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("subscription_plans.id"))
    currency: Mapped[str]
    billing_interval: Mapped[str]
    amount_minor: Mapped[int]
    provider_plan_ids: Mapped[dict[str, str]]


class Subscription(Base):
    """The row that everybody reads. Only its workflow writes it, each time with a higher `version`.

    The API inserts it once, with version 0 and the command in `opening`, before the workflow exists:
    a subscription that was accepted is never lost, even while Temporal is away.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_subscription_id"),
        Index("ix_subscriptions_page", "application_id", "id"),
        Index("ix_subscriptions_status", "application_id", "status", "id"),
        Index("ix_subscriptions_plan", "plan_id", "id"),
        Index(
            "ix_subscriptions_not_opened",
            "created_at",
            postgresql_where=text("version = 0 AND status = 'incomplete'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("subscription_plans.id"))
    version: Mapped[int]
    opening: Mapped[dict[str, Any]]
    workflow_id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    provider: Mapped[str | None]
    account: Mapped[str]
    provider_subscription_id: Mapped[str | None]
    provider_customer_id: Mapped[str | None]
    billing_interval: Mapped[str]
    payment_method_type: Mapped[str]
    payment_method_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment_methods.id"))
    currency: Mapped[str]
    quantity: Mapped[int] = mapped_column(server_default=text("1"))
    amount_minor: Mapped[int]  # Per period, for the whole quantity.
    time_zone: Mapped[str]
    current_period_start: Mapped[datetime | None]
    current_period_end: Mapped[datetime | None]
    paid_ahead_until: Mapped[datetime | None]
    trial_end: Mapped[datetime | None]
    cancel_at_period_end: Mapped[bool]
    canceled_at: Mapped[datetime | None]
    access_until: Mapped[datetime | None]
    pending_change: Mapped[dict[str, Any] | None]
    paused_at: Mapped[datetime | None]
    resume_at: Mapped[datetime | None]
    credit_minor: Mapped[int] = mapped_column(server_default=text("0"))  # Pays coming invoices.
    # Of the open invoice: tries made and left, when the next one is, why the last one failed.
    collection: Mapped[dict[str, Any] | None]
    risk: Mapped[str | None]  # Why an operator should look: disputed, held_money, unknown_outcome.
    next_step_at: Mapped[datetime | None]
    next_step: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Invoice(Base):
    """One bill. `amount_paid_minor` is what was applied to it, never more than `amount_minor`."""

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_invoice_id"),
        Index("ix_invoices_page", "application_id", "id"),
        Index("ix_invoices_status", "application_id", "status", "id"),
        Index("ix_invoices_organization", "organization_id", "id"),
        Index("ix_invoices_invoice_date", "application_id", "invoice_date"),
        Index("ix_invoices_due_date", "application_id", "due_date"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        CheckConstraint(
            "amount_paid_minor BETWEEN 0 AND amount_minor", name="paid_within_the_amount"
        ),
        CheckConstraint("num_nonnulls(subscription_id, purchase_id) = 1", name="one_owner"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    provider: Mapped[str | None]
    account: Mapped[str]
    provider_invoice_id: Mapped[str | None]
    amount_minor: Mapped[int]
    amount_paid_minor: Mapped[int]
    amount_refunded_minor: Mapped[int]
    currency: Mapped[str]
    status: Mapped[str]
    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]
    invoice_date: Mapped[datetime]
    due_date: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    # What the amount is made of: price, proration, credit. Their sum is `amount_minor`.
    lines: Mapped[list[dict[str, Any]]] = mapped_column(server_default=text("'[]'"))
    hosted_invoice_url: Mapped[str | None]
    invoice_pdf: Mapped[str | None]


class ChargeAttempt(Base):
    """One try at one invoice with one provider, written before the provider is called.

    Rows are never deleted, and a trigger holds the outcome to `OUTCOME_TRANSITIONS`. The partial unique
    index is invariant 1: an invoice has at most one attempt whose outcome is still open.
    """

    __tablename__ = "charge_attempts"
    __table_args__ = (
        Index(
            "uq_charge_attempts_one_open_per_invoice",
            "invoice_id",
            unique=True,
            postgresql_where=text("outcome IN ('unknown', 'pending')"),
        ),
        Index("ix_charge_attempts_started", "application_id", "started_at"),
        Index("ix_charge_attempts_provider_object", "provider", "account", "provider_object_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), index=True)
    provider: Mapped[str]
    account: Mapped[str]
    instrument: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    provider_object_id: Mapped[str | None]
    next_action: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Payment(Base):
    """Money that moved: append-only, one row per movement.

    `applied_minor` of a capture pays its invoice; the rest is unapplied money, kept in sight. An operator
    books what no provider saw as `out_of_band`; its `provider_charge_id` is the operator's reference.
    """

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("provider", "account", "kind", "provider_charge_id"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("applied_minor BETWEEN 0 AND amount_minor", name="applied_within_amount"),
        CheckConstraint(
            "(provider IS NULL) = (kind = 'out_of_band')", name="provider_unless_out_of_band"
        ),
        Index("ix_payments_page", "application_id", "id"),
        Index("ix_payments_occurred_at", "application_id", "occurred_at"),
        Index(
            "uq_payments_out_of_band",
            "invoice_id",
            "provider_charge_id",
            unique=True,
            postgresql_where=text("kind = 'out_of_band'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), index=True)
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("charge_attempts.id"))
    provider: Mapped[str | None]
    account: Mapped[str]
    provider_charge_id: Mapped[str]
    kind: Mapped[
        str
    ]  # capture | out_of_band | refund | refund_reversal | dispute | dispute_reversal
    amount_minor: Mapped[int]
    applied_minor: Mapped[int]
    currency: Mapped[str]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]


class FallbackEvent(Base):
    """One provider was asked, another one did it."""

    __tablename__ = "fallback_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"), index=True)
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    attempted_provider: Mapped[str]
    fallback_provider: Mapped[str]
    reason: Mapped[str]
    timestamp: Mapped[datetime]
