"""Runs that held the providers' books against ours, and what they found. Of the whole installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.storage.base import Base, new_id


class ReconciliationRun(Base):
    """One run at one provider. `cursor` is where it stands, so that a run that was cut off, or reached
    its limits, is gone on with by the next one."""

    __tablename__ = "reconciliation_runs"
    __table_args__ = (
        Index("ix_reconciliation_runs_provider", "provider", "account", "started_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    provider: Mapped[str]
    account: Mapped[str]
    dry_run: Mapped[bool]
    # Looked at less than was due: the next one begins as if this had not been.
    is_aside: Mapped[bool] = mapped_column(server_default=text("false"))
    since: Mapped[datetime]  # Objects made or changed from here on were looked at.
    chain_started_at: Mapped[datetime]  # Of the first run that this one goes on with.
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    status: Mapped[str]  # running | finished | cut_off
    stopped_by: Mapped[str | None]  # Why it was cut off, for people.
    cursor: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    objects: Mapped[int]  # How many were compared.
    repaired: Mapped[int]
    left_over: Mapped[int]


class ReconciliationFinding(Base):
    """One thing that the two books see differently."""

    __tablename__ = "reconciliation_findings"
    __table_args__ = (
        Index(
            "uq_reconciliation_findings_drift",
            "provider",
            "account",
            "kind",
            "object_id",
            "theirs",
            unique=True,
            postgresql_where=text("NOT dry_run"),
        ),
        Index("ix_reconciliation_findings_run_id", "run_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("reconciliation_runs.id"))
    dry_run: Mapped[bool]
    provider: Mapped[str]
    account: Mapped[str]
    kind: Mapped[str]  # models.reconcile.Drift
    object_id: Mapped[str]
    application_id: Mapped[UUID | None] = mapped_column(ForeignKey("applications.id"), index=True)
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"))
    purchase_id: Mapped[UUID | None] = mapped_column(ForeignKey("purchases.id"))
    theirs: Mapped[str]
    ours: Mapped[str]
    status: Mapped[str]  # found | signalled | repaired | left
    listed: Mapped[dict[str, Any]]  # models.reconcile.Listed, to compare again.
    inbox_id: Mapped[UUID | None] = mapped_column(ForeignKey("webhook_events.id"))
    found_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
