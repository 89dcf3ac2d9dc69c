"""What becomes of money after it arrived: refunds, credit, disputes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class Refund(Base):
    """Money on its way back, ordered here or seen at the provider. When it moved there is a payment of
    kind `refund` beside it; while it is `pending` its amount is reserved."""

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_refund_id"),
        Index("ix_refunds_page", "application_id", "id"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), index=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payments.id"), index=True)  # The capture.
    provider: Mapped[str]
    account: Mapped[str]
    provider_refund_id: Mapped[str | None]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    reason: Mapped[str | None]
    status: Mapped[str]  # pending | succeeded | failed
    failure_code: Mapped[str | None]
    actor: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CreditEntry(Base):
    """The customer's credit, as a ledger: what came in (+) and what paid an invoice (-). Append-only.

    `payment_id`: the credit is unapplied money of this capture, so that money is not counted twice.
    """

    __tablename__ = "credit_entries"
    __table_args__ = (
        Index("ix_credit_entries_page", "application_id", "id"),
        CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payments.id"), index=True)
    amount_minor: Mapped[int]
    currency: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime]


class Dispute(Base):
    """A payment that the customer had taken back through the bank, and how it stands."""

    __tablename__ = "disputes"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_dispute_id"),
        Index("ix_disputes_page", "application_id", "id"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"), index=True)
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payments.id"))
    provider: Mapped[str]
    account: Mapped[str]
    provider_dispute_id: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    reason: Mapped[str | None]
    status: Mapped[str]  # open | won | lost
    evidence_due_at: Mapped[datetime | None]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Reminder(Base):
    """Something to tell the app at a moment, if it still holds then. A row costs no timer.

    `kind` says what has to hold: `payment` that the attempt is still unpaid, `renewal` that the
    subscription still renews at `valid_for`. The id follows from what it is about, so it is written once.
    """

    __tablename__ = "reminders"
    __table_args__ = (
        Index("ix_reminders_due", "due_at", postgresql_where=text("settled_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"))
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"))
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("charge_attempts.id"))
    kind: Mapped[str]  # payment | renewal
    due_at: Mapped[datetime]
    valid_for: Mapped[datetime | None]  # The period end that a renewal reminder is about.
    settled_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # told | obsolete
