"""Where applications are told by webhook, and what became of each event there."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class WebhookEndpoint(Base):
    """An address of an application, with its health. `secrets` are sealed, newest first:
    `{id, sealed, created_at, expires_at}`."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"), index=True)
    url: Mapped[str]
    description: Mapped[str | None]
    event_types: Mapped[list[str]]
    status: Mapped[str]  # models.outbound.EndpointStatus
    status_reason: Mapped[str | None]
    status_changed_at: Mapped[datetime]
    secrets: Mapped[list[dict[str, Any]]]
    version: Mapped[int]  # Counts what the application was told of the endpoint itself.
    consecutive_failures: Mapped[int]
    failing_since: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    last_failure_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    held_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WebhookDelivery(Base):
    """One event on its way to one endpoint. `failures` and `trying_since` begin anew with a replay,
    `attempts` counts all."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        PrimaryKeyConstraint("endpoint_id", "event_id"),
        Index(
            "ix_webhook_deliveries_pending",
            "endpoint_id",
            "lane",
            "sequence",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_webhook_deliveries_event_id", "event_id"),
    )

    endpoint_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE")
    )
    event_id: Mapped[UUID] = mapped_column(ForeignKey("outbound_events.id"))
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    lane: Mapped[str]
    sequence: Mapped[int]
    status: Mapped[str]  # models.outbound.DeliveryStatus
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    trying_since: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    response_status: Mapped[int | None]
    response_excerpt: Mapped[str | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]


class WebhookLane(Base):
    """Events that have to arrive one after the other: a subscription's, on their way to one endpoint.
    A lane is there while it has something to send. Whoever sends holds `claim_id` until `due_at`."""

    __tablename__ = "webhook_lanes"
    __table_args__ = (
        PrimaryKeyConstraint("endpoint_id", "lane"),
        Index("ix_webhook_lanes_due", "endpoint_id", "due_at"),
    )

    endpoint_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE")
    )
    lane: Mapped[str]
    due_at: Mapped[datetime]
    claim_id: Mapped[UUID | None]
