"""Reads the figures of one application: revenue from rows and audit log, success from the attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import groupby
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from models.calendar import BillingInterval
from models.figures import Entry, Month, Standing, Step, steps
from models.outcomes import Instrument, OutcomeClass
from models.recurring import COUNTED_STATUSES, monthly_amount_minor
from models.states import SubscriptionStatus
from models.storage.base import first_id_at
from models.storage.tables import AuditEntry, ChargeAttempt, Subscription

# Entries are written after the moment that they tell of; their ids may be as much older.
_CLOCKS_APART = timedelta(hours=1)
# What a customer takes to a shop or a bank.
SLIPS = frozenset({Instrument.OXXO, Instrument.SPEI})

Attempts = dict[tuple[str, bool], int]  # By outcome, and whether it was a slip.


@dataclass(frozen=True)
class CurrencyMonth:
    month: Month
    attempts: Attempts


def month_starts(at: datetime, months: int) -> list[datetime]:
    """The first moments (UTC) of the last `months` months, the running one included; oldest first."""
    last = at.year * 12 + at.month - 1
    return [
        datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        for number in range(last - months + 1, last + 1)
    ]


async def read_figures(
    session: AsyncSession, principal: Principal, starts: Sequence[datetime]
) -> dict[tuple[datetime, str], CurrencyMonth]:
    """By month and currency, for every currency that the application has sold in. Runs in one look at the
    database."""
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    totals = await _totals(session, principal)
    changes = await _changes(session, principal, starts[0])
    attempts = await _attempts(session, principal, starts[0])
    currencies = {*totals, *changes, *(currency for _, currency in attempts)}
    found: dict[tuple[datetime, str], CurrencyMonth] = {}
    for currency in currencies:
        revenue, paying = totals.get(currency, (Fraction(0), 0))
        for start, month in _months(revenue, paying, changes[currency], starts).items():
            found[start, currency] = CurrencyMonth(month, attempts[start, currency])
    return found


def _months(
    revenue: Fraction, paying: int, changes: Iterable[Step], starts: Sequence[datetime]
) -> dict[datetime, Month]:
    """Backwards from what is now."""
    by_month: dict[datetime, list[Step]] = defaultdict(list)
    for step in changes:
        start = max((one for one in starts if one <= step.at), default=None)
        if start is not None:
            by_month[start].append(step)
    months: dict[datetime, Month] = {}
    for start in reversed(starts):
        month = Month(end_minor=revenue)
        for step in by_month[start]:
            month.add(step)
            revenue -= step.difference_minor
            paying -= step.after.counts - step.before.counts
        month.start_minor, month.paying_at_start = revenue, paying
        months[start] = month
    return months


async def _totals(session: AsyncSession, principal: Principal) -> dict[str, tuple[Fraction, int]]:
    """By currency: what counted subscriptions bring in a month now, and how many they are."""
    row = Subscription
    statement = (
        select(row.currency, row.billing_interval, func.sum(row.amount_minor), func.count())
        .where(row.application_id == principal.application_id, row.status.in_(COUNTED_STATUSES))
        .group_by(row.currency, row.billing_interval)
    )
    totals: dict[str, tuple[Fraction, int]] = {}
    for currency, interval, amount, count in await session.execute(statement):
        revenue, paying = totals.get(currency, (Fraction(0), 0))
        more = monthly_amount_minor(int(amount), BillingInterval(interval))
        totals[currency] = (revenue + more, paying + count)
    return totals


async def _changes(
    session: AsyncSession, principal: Principal, since: datetime
) -> dict[str, list[Step]]:
    """By currency. Only subscriptions that changed are read."""
    entry, row = AuditEntry, Subscription
    statement = (
        select(
            row.id,
            row.currency,
            row.status,
            row.amount_minor,
            row.billing_interval,
            entry.at,
            entry.action,
            entry.before,
        )
        .join(row, row.id == entry.subscription_id)
        .where(
            entry.application_id == principal.application_id,
            entry.id >= first_id_at(since - _CLOCKS_APART),
            or_(entry.action == "change", entry.before.has_key("status")),
        )
        .order_by(row.id, entry.version.desc(), entry.id.desc())
    )
    found: dict[str, list[Step]] = defaultdict(list)
    rows = await session.execute(statement)
    for _, group in groupby(rows, key=lambda one: one.id):
        entries = list(group)
        first = entries[0]
        interval = BillingInterval(first.billing_interval)
        now = Standing(SubscriptionStatus(first.status), first.amount_minor, interval)
        told = (Entry(one.at, one.action, one.before) for one in entries)
        found[first.currency] += steps(now, told)
    return found


async def _attempts(
    session: AsyncSession, principal: Principal, since: datetime
) -> dict[tuple[datetime, str], Attempts]:
    """By the month in which they were begun, and currency."""
    row = ChargeAttempt
    month = func.date_trunc("month", row.started_at, "UTC").label("month")
    statement = (
        select(month, row.currency, row.instrument, row.outcome, func.count().label("number"))
        .where(row.application_id == principal.application_id, row.started_at >= since)
        .group_by(month, row.currency, row.instrument, row.outcome)
    )
    found: dict[tuple[datetime, str], Attempts] = defaultdict(lambda: defaultdict(int))
    for one in await session.execute(statement):
        start: Any = one.month
        found[start, one.currency][one.outcome, one.instrument in SLIPS] += one.number
    return found


def payments(attempts: Attempts) -> tuple[int, int]:
    """Of the tries whose end is known: how many collected money, and how many did or were refused."""
    return _collected(attempts, slips={True, False})


def slips(attempts: Attempts) -> tuple[int, int]:
    """The same of vouchers and transfers alone."""
    return _collected(attempts, slips={True})


def _collected(attempts: Attempts, slips: set[bool]) -> tuple[int, int]:
    succeeded, declined = (
        sum(attempts.get((outcome, slip), 0) for slip in slips)
        for outcome in (OutcomeClass.SUCCEEDED, OutcomeClass.DECLINED)
    )
    return succeeded, succeeded + declined
