"""What all workers know of the providers together."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

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
