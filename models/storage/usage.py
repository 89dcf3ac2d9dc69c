"""How much an organization has used of what its plan limits."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class UsageCounter(Base):
    """One number per organization, limit and period. A period is the subscription's that gives the limit."""

    __tablename__ = "usage_counters"
    __table_args__ = (
        PrimaryKeyConstraint("organization_id", "metric", "period_start"),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    )

    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    metric: Mapped[str]
    period_start: Mapped[datetime]
    quantity: Mapped[int]
    updated_at: Mapped[datetime]


class UsageEvent(Base):
    """One report of the app, kept so that it is counted once however often it comes."""

    __tablename__ = "usage_events"
    __table_args__ = (UniqueConstraint("organization_id", "event_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    application_id: Mapped[UUID] = mapped_column(ForeignKey("applications.id"))
    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    event_id: Mapped[str]
    metric: Mapped[str]
    quantity: Mapped[int]
    used_after: Mapped[int]  # In the period, with this one: it is answered again.
    period_start: Mapped[datetime]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
