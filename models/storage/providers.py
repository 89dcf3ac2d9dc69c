"""What all workers know of the providers together."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from models.breaker import Health
from models.storage.base import Base


class ProviderHealth(Base):
    """The circuit breaker of one provider account; see `models.breaker`."""

    __tablename__ = "provider_health"

    provider: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_failure_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    probe_until: Mapped[datetime | None]
    open_since: Mapped[datetime | None]
    last_reason: Mapped[str | None]


def health_of(row: ProviderHealth | None) -> Health:
    """An account that nobody had trouble with has no row."""
    if row is None:
        return Health()
    return Health(
        row.failures,
        row.last_failure_at,
        row.opened_at,
        row.probe_until,
        row.open_since,
        row.last_reason,
    )
