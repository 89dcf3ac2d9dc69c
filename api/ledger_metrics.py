"""Figures that are read from the ledgers: fallbacks, tries at collecting, open questions, circuits.

They are read from PostgreSQL when Prometheus asks, not counted in the processes: the ledgers know every
worker's tries, and neither a restart nor another replica makes them forget or count twice. So every
replica says the same, and a sum over replicas would be wrong: take `max`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from api.business_metrics import BusinessFigures, read_business
from models.breaker import BreakerState, Health
from models.outcomes import DEFAULT_ACCOUNT, OutcomeClass, ProviderName
from models.storage.engine import Sessions
from models.storage.providers import ProviderHealth, health_of
from models.storage.tables import (
    ChargeAttempt,
    FallbackEvent,
    ReconciliationFinding,
    ReconciliationRun,
)

# Scrapes of all watchers together cost one reading in this time.
FRESH_SECONDS = 5.0
# Counting gets slower as the ledgers grow: it may use a twentieth of one connection's time, no more.
PAUSE_PER_READING_SECOND = 19.0
# Prometheus gives up after 10 s by default.
STATEMENT_TIMEOUT_MILLISECONDS = 4000

_log = structlog.get_logger("abono.metrics")


@dataclass
class Figures:
    """Rows of labels and value. `breakers` by (provider, account)."""

    fallbacks: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    attempts: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    unknown: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    breakers: dict[tuple[str, str], Health] = field(default_factory=dict)
    drift: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    reconciled_at: dict[str, datetime] = field(default_factory=dict)
    business: BusinessFigures = field(default_factory=BusinessFigures)
    read_at: datetime | None = None  # PostgreSQL's clock.


class LedgerMetrics(Collector):
    """`refresh` before a scrape. While PostgreSQL is away the last figures stay, and their age says so."""

    def __init__(
        self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._figures: Figures | None = None
        self._monotonic = monotonic
        self._read_seconds = 0.0  # On `monotonic`.
        self._next_seconds = 0.0
        self._reading = asyncio.Lock()
        registry.register(self)

    async def refresh(self, sessions: Sessions) -> None:
        """Reads the ledgers when what is known is no longer fresh. Never raises because they are away."""
        async with self._reading:
            started = self._monotonic()
            if started < self._next_seconds:
                return
            try:
                async with sessions.begin() as session:
                    self._figures = await read_figures(session)
                self._read_seconds = self._monotonic()
            except (SQLAlchemyError, OSError, TimeoutError) as problem:
                _log.warning("ledger figures could not be read", error=type(problem).__name__)
            took = self._monotonic() - started
            pause = max(FRESH_SECONDS, took * PAUSE_PER_READING_SECOND)
            self._next_seconds = started + took + pause

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        if figures is None:
            return
        age = GaugeMetricFamily(
            "abono_ledger_figures_age_seconds", "How long ago the ledgers were read"
        )
        age.add_metric([], self._monotonic() - self._read_seconds)
        yield age
        yield _fallbacks(figures)
        yield _attempts(figures)
        yield from _unknown(figures)
        yield _breakers(figures)
        yield from _drift(figures)
        yield from figures.business.families()


async def read_figures(session: AsyncSession) -> Figures:
    """One consistent look at the ledgers."""
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    await session.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MILLISECONDS}"))
    read_at = (await session.execute(select(func.now()))).scalar_one()
    event, attempt = FallbackEvent, ChargeAttempt
    fallback_labels = (event.attempted_provider, event.fallback_provider, event.reason)
    attempt_labels = (attempt.provider, attempt.instrument, attempt.outcome)
    fallbacks = select(*fallback_labels, func.count()).group_by(*fallback_labels)
    attempts = select(*attempt_labels, func.count()).group_by(*attempt_labels)
    unknown = (
        select(attempt.provider, func.count(), func.min(attempt.started_at))
        .where(attempt.outcome == OutcomeClass.UNKNOWN)
        .group_by(attempt.provider)
    )
    health = await session.scalars(select(ProviderHealth))
    finding, run = ReconciliationFinding, ReconciliationRun
    drift_labels = (finding.provider, finding.kind, finding.status)
    drift = select(*drift_labels, func.count()).where(~finding.dry_run).group_by(*drift_labels)
    done = select(run.provider, func.max(run.finished_at)).where(run.status == "finished")
    done = done.where(~run.dry_run, ~run.is_aside).group_by(run.provider)
    return Figures(
        fallbacks=_counts(await session.execute(fallbacks)),
        attempts=_counts(await session.execute(attempts)),
        unknown={
            provider: (count, oldest) for provider, count, oldest in await session.execute(unknown)
        },
        breakers={(row.provider, row.account): health_of(row) for row in health},
        drift=_counts(await session.execute(drift)),
        reconciled_at={
            provider: at for provider, at in await session.execute(done) if at is not None
        },
        business=await read_business(session, read_at),
        read_at=read_at,
    )


def _counts(rows: Iterable[tuple[object, ...]]) -> list[tuple[tuple[str, ...], int]]:
    return [(tuple(map(str, row[:-1])), int(str(row[-1]))) for row in rows]


def _fallbacks(figures: Figures) -> Metric:
    labels = ["attempted_provider", "fallback_provider", "reason"]
    family = CounterMetricFamily("abono_fallbacks", "Providers stood in for", labels=labels)
    for values, count in figures.fallbacks:
        family.add_metric(values, count)
    return family


def _attempts(figures: Figures) -> Metric:
    """A gauge: what was pending yesterday has succeeded today."""
    labels = ["provider", "instrument", "outcome"]
    family = GaugeMetricFamily("abono_charge_attempts", "Tries at collecting money", labels=labels)
    for values, count in figures.attempts:
        family.add_metric(values, count)
    return family


def _unknown(figures: Figures) -> Iterator[Metric]:
    """Always there for every provider, so that an alert on them is never without data."""
    count = GaugeMetricFamily(
        "abono_unknown_attempts", "Tries whose outcome nobody knows yet", labels=["provider"]
    )
    oldest = GaugeMetricFamily(
        "abono_unknown_attempt_oldest_seconds", "How old the oldest of them is", labels=["provider"]
    )
    for name in ProviderName:
        number, started_at = figures.unknown.get(name, (0, figures.read_at))
        count.add_metric([name], number)
        age = figures.read_at - started_at if figures.read_at and started_at else None
        oldest.add_metric([name], max(age.total_seconds(), 0.0) if age else 0.0)
    yield count
    yield oldest


def _drift(figures: Figures) -> Iterator[Metric]:
    """Gauges: what was left yesterday may be settled today."""
    found = GaugeMetricFamily(
        "abono_reconciliation_findings",
        "Differences between a provider's books and ours",
        labels=["provider", "kind", "status"],
    )
    for values, count in figures.drift:
        found.add_metric(values, count)
    yield found
    age = GaugeMetricFamily(
        "abono_reconciliation_age_seconds",
        "How long ago a run at a provider was finished",
        labels=["provider"],
    )
    for provider, at in figures.reconciled_at.items():
        if figures.read_at is not None:
            age.add_metric([provider], max((figures.read_at - at).total_seconds(), 0.0))
    yield age


def _breakers(figures: Figures) -> Metric:
    """1 for the state that it is in, 0 for the others. Who never had trouble has no row and is closed."""
    family = GaugeMetricFamily(
        "abono_provider_breaker",
        "Circuit breaker of a provider's account by state",
        labels=["provider", "account", "state"],
    )
    breakers = {(str(name), DEFAULT_ACCOUNT): Health() for name in ProviderName}
    for (provider, account), health in (breakers | figures.breakers).items():
        state = health.state(figures.read_at) if figures.read_at else BreakerState.CLOSED
        for each in BreakerState:
            family.add_metric([provider, account, each], float(each is state))
    return family
