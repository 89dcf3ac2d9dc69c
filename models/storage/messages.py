"""What came in (webhooks), what goes out (events), and who did what (audit, idempotency)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class WebhookEvent(Base):
    """The inbox. *Received* and *applied* are different facts: `applied_at` is set only in the
    transaction in which something was done with the event (`disposition` says what)."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_event_id"),
        Index(
            "ix_webhook_events_due",
            "next_dispatch_at",
            postgresql_where=text("applied_at IS NULL"),
        ),
        # Not at the insert, which has to be quick: only once it is known whose event it is.
        Index(
            "ix_webhook_events_workflow_id",
            "workflow_id",
            postgresql_where=text("workflow_id IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    provider: Mapped[str]
    account: Mapped[str]
    provider_event_id: Mapped[str]
    event_type: Mapped[str]
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]  # As received; empty once it is too old.
    event: Mapped[dict[str, Any]]  # As models.events.ProviderEvent.
    received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]
    disposition: Mapped[str | None]
    workflow_id: Mapped[str | None]
    attempts: Mapped[int]
    next_dispatch_at: Mapped[datetime]
    last_error: Mapped[str | None]


class OutboundEvent(Base):
    """What the app is told, in order per subscription; written with the change it tells of."""

    __tablename__ = "outbound_events"
    __table_args__ = (
        UniqueConstraint("subscription_id", "sequence"),
        UniqueConstraint("purchase_id", "sequence"),
        Index("ix_outbound_events_page", "application_id", "id"),
        Index("ix_outbound_events_type", "application_id", "type", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"))
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"))
    sequence: Mapped[int]
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class AuditEntry(Base):
    """Every change of state: who, what, before, after."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_page", "application_id", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"), index=True)
    version: Mapped[int]
    actor: Mapped[str]
    action: Mapped[str]
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class IdempotencyKey(Base):
    """A POST that is being or has been answered. No response yet means it is still running."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (PrimaryKeyConstraint("application_id", "key"),)

    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    key: Mapped[str]
    fingerprint: Mapped[str]
    object_id: Mapped[UUID]  # The id the first try chose: a second one does the same thing again.
    response_status: Mapped[int | None]
    response_body: Mapped[dict[str, Any] | None]
    locked_until: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(index=True)
