"""Figures of the business, read from PostgreSQL: what came of the last hour's tries, who pays, who is past
due, and how long webhooks wait.

Windows are counted by the database's clock. A counter that begins at one has no rate for Prometheus; a
count over the last hour has no such beginning, and every replica tells the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from uuid import UUID

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.calendar import BillingInterval
from models.outbound import EndpointStatus
from models.outcomes import OutcomeClass, ProviderName
from models.recurring import COUNTED_STATUSES, monthly_amount_minor, round_minor
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    FallbackEvent,
    Subscription,
    WebhookEndpoint,
    WebhookEvent,
)

ATTEMPTS_WINDOW = timedelta(hours=1)
DUNNING_WINDOW = timedelta(days=1)
# The database may be behind the workflow's clock by a step that is being retried.
_CLOCKS_APART = timedelta(hours=1)
ENTERED, RECOVERED, LOST = "entered", "recovered", "lost"

Rows = list[tuple[tuple[str, ...], float]]


@dataclass
class BusinessFigures:
    """Rows of labels and value."""

    attempts: Rows = field(default_factory=list)
    fallbacks: Rows = field(default_factory=list)
    unapplied: Rows = field(default_factory=list)
    unapplied_oldest_seconds: Rows = field(default_factory=list)
    subscriptions: Rows = field(default_factory=list)
    endpoints: Rows = field(default_factory=list)
    recurring_minor: Rows = field(default_factory=list)
    dunning: Rows = field(default_factory=list)

    def families(self) -> Iterator[Metric]:
        for name, text, labels, rows in (
            (
                "abono_charge_attempts_last_hour",
                "Tries at collecting money of the last hour by what is known of them now",
                ["provider", "outcome"],
                self.attempts,
            ),
            (
                "abono_fallbacks_last_hour",
                "Tries of the last hour that another provider stood in for",
                ["attempted_provider"],
                self.fallbacks,
            ),
            (
                "abono_inbox_unapplied",
                "Webhooks that nothing was done with yet",
                ["provider"],
                self.unapplied,
            ),
            (
                "abono_inbox_oldest_seconds",
                "How long the oldest of them has been here",
                ["provider"],
                self.unapplied_oldest_seconds,
            ),
            (
                "abono_webhook_endpoints",
                "Webhook endpoints of applications by status",
                ["status"],
                self.endpoints,
            ),
            ("abono_subscriptions", "By status", ["status"], self.subscriptions),
            (
                "abono_recurring_revenue_minor",
                "What active and past-due subscriptions bring in a month, in minor units",
                ["currency"],
                self.recurring_minor,
            ),
            (
                "abono_dunning_last_day",
                "Subscriptions that became past due, recovered, or were lost from it",
                ["result"],
                self.dunning,
            ),
        ):
            family = GaugeMetricFamily(name, text, labels=labels)
            for values, value in rows:
                family.add_metric(values, value)
            yield family


async def read_business(session: AsyncSession, at: datetime) -> BusinessFigures:
    """`at` is the database's clock. Runs inside the caller's transaction."""
    unapplied, oldest = await _inbox(session)
    return BusinessFigures(
        attempts=await _attempts(session, at),
        fallbacks=await _fallbacks(session, at),
        unapplied=unapplied,
        unapplied_oldest_seconds=oldest,
        subscriptions=await _subscriptions(session),
        endpoints=await _endpoints(session),
        recurring_minor=await _recurring(session),
        dunning=await _dunning(session, at),
    )


async def _attempts(session: AsyncSession, at: datetime) -> Rows:
    """Every provider and outcome is there, so that a ratio has both its parts. What is still pending (a
    voucher at the customer's) or open is counted from its start."""
    attempt = ChargeAttempt
    ended = func.coalesce(attempt.finished_at, attempt.started_at)
    statement = (
        select(attempt.provider, attempt.outcome, func.count())
        .where(ended > at - ATTEMPTS_WINDOW)
        .group_by(attempt.provider, attempt.outcome)
    )
    names = [(str(name), str(outcome)) for name in ProviderName for outcome in OutcomeClass]
    return _filled(names, await session.execute(statement))


async def _fallbacks(session: AsyncSession, at: datetime) -> Rows:
    event = FallbackEvent
    statement = (
        select(event.attempted_provider, func.count())
        .where(event.timestamp > at - ATTEMPTS_WINDOW)
        .group_by(event.attempted_provider)
    )
    return _filled([(str(name),) for name in ProviderName], await session.execute(statement))


async def _inbox(session: AsyncSession) -> tuple[Rows, Rows]:
    event = WebhookEvent
    age = func.extract("epoch", func.max(func.now() - event.received_at))
    statement = (
        select(event.provider, func.count(), age)
        .where(event.applied_at.is_(None))
        .group_by(event.provider)
    )
    found = {row[0]: (row[1], float(row[2])) for row in await session.execute(statement)}
    rows = [((str(name),), found.get(str(name), (0, 0.0))) for name in ProviderName]
    return [(key, count) for key, (count, _) in rows], [(key, age) for key, (_, age) in rows]


async def _subscriptions(session: AsyncSession) -> Rows:
    row = Subscription
    statement = select(row.status, func.count()).group_by(row.status)
    return _filled([(str(one),) for one in SubscriptionStatus], await session.execute(statement))


async def _endpoints(session: AsyncSession) -> Rows:
    row = WebhookEndpoint
    statement = select(row.status, func.count()).group_by(row.status)
    return _filled([(str(one),) for one in EndpointStatus], await session.execute(statement))


async def _recurring(session: AsyncSession) -> Rows:
    row = Subscription
    statement = (
        select(row.currency, row.billing_interval, func.sum(row.amount_minor))
        .where(row.status.in_(COUNTED_STATUSES))
        .group_by(row.currency, row.billing_interval)
    )
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for currency, interval, amount in await session.execute(statement):
        sums[currency] += monthly_amount_minor(int(amount), BillingInterval(interval))
    return [((currency,), round_minor(amount)) for currency, amount in sorted(sums.items())]


async def _dunning(session: AsyncSession, at: datetime) -> Rows:
    """From the audit log, which has no index by time: its ids begin with theirs (UUIDv7)."""
    entry, past_due = AuditEntry, SubscriptionStatus.PAST_DUE.value
    before, after = entry.before["status"].astext, entry.after["status"].astext
    ended = [str(status) for status in TERMINAL_STATUSES]
    result = case(
        (after == past_due, ENTERED),
        ((before == past_due) & (after == SubscriptionStatus.ACTIVE.value), RECOVERED),
        ((before == past_due) & after.in_(ended), LOST),
    )
    statement = (
        select(result, func.count())
        .where(
            entry.id >= _first_id(at - DUNNING_WINDOW - _CLOCKS_APART),
            entry.at > at - DUNNING_WINDOW,
            before != after,
            result.is_not(None),
        )
        .group_by(result)
    )
    names = [(one,) for one in (ENTERED, RECOVERED, LOST)]
    return _filled(names, await session.execute(statement))


def _first_id(at: datetime) -> UUID:
    """The lowest UUIDv7 of that millisecond (RFC 9562, 5.7)."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def _filled(names: Iterable[tuple[str, ...]], rows: Iterable[tuple[object, ...]]) -> Rows:
    """The rows with a zero for each name that has none."""
    found = {tuple(map(str, row[:-1])): float(str(row[-1])) for row in rows}
    return [(name, found.get(name, 0.0)) for name in dict.fromkeys([*names, *found])]
