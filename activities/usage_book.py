"""The book of usage: what was reported, counted once, and how much that makes in a period.

One statement counts, under the counter's own row lock, so reports that come together lose nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.outbox import tell_about
from models.entitlements import Limit
from models.storage.tables import UsageCounter, UsageEvent, new_id


class UsageReport(NamedTuple):
    application_id: UUID
    organization_id: UUID
    event_id: str
    metric: str
    quantity: int
    occurred_at: datetime


class Counted(NamedTuple):
    """`used` with this report. `recorded` False: it would have passed the limit, and was to be refused.
    `known` is the report that came under the same event id before."""

    used: int
    recorded: bool
    known: UsageEvent | None = None


async def count_usage(
    session: AsyncSession, report: UsageReport, limit: Limit, *, enforce: bool, at: datetime
) -> Counted:
    """Count it, once for each event id. With `enforce` one that passes the limit is not counted."""
    known = await _insert_event(session, report, limit, at)
    if known is not None:
        return Counted(known.used_after, True, known)
    await session.execute(
        insert(UsageCounter)
        .values(
            application_id=report.application_id,
            organization_id=report.organization_id,
            metric=report.metric,
            period_start=limit.period_start,
            quantity=0,
            updated_at=at,
        )
        .on_conflict_do_nothing()
    )
    mine = (
        UsageCounter.organization_id == report.organization_id,
        UsageCounter.metric == report.metric,
        UsageCounter.period_start == limit.period_start,
    )
    counting = update(UsageCounter).where(*mine)
    if enforce:
        counting = counting.where(UsageCounter.quantity + report.quantity <= limit.limit)
    used = await session.scalar(
        counting.values(quantity=UsageCounter.quantity + report.quantity, updated_at=at).returning(
            UsageCounter.quantity
        )
    )
    of_event = UsageEvent.organization_id == report.organization_id
    this_event = UsageEvent.event_id == report.event_id
    if used is None:
        await session.execute(delete(UsageEvent).where(of_event, this_event))
        so_far = await session.scalar(select(UsageCounter.quantity).where(*mine))
        return Counted(so_far or 0, recorded=False)
    await session.execute(update(UsageEvent).where(of_event, this_event).values(used_after=used))
    if used - report.quantity < limit.limit <= used:
        await _tell("usage.limit_reached", session, limit, used, at)
    return Counted(used, recorded=True)


async def _insert_event(
    session: AsyncSession, report: UsageReport, limit: Limit, at: datetime
) -> UsageEvent | None:
    """The same one from before, if there is one. One that is being counted is waited for."""
    fresh = await session.scalar(
        insert(UsageEvent)
        .values(
            id=new_id(),
            used_after=0,
            period_start=limit.period_start,
            recorded_at=at,
            **report._asdict(),
        )
        .on_conflict_do_nothing()
        .returning(UsageEvent.id)
    )
    if fresh is not None:
        return None
    return await session.scalar(
        select(UsageEvent).where(
            UsageEvent.organization_id == report.organization_id,
            UsageEvent.event_id == report.event_id,
        )
    )


async def _tell(type_: str, session: AsyncSession, limit: Limit, used: int, at: datetime) -> None:
    data = {
        "metric": limit.name,
        "limit": limit.limit,
        "used": used,
        "resets_at": limit.resets_at.isoformat() if limit.resets_at else None,
    }
    await tell_about(session, limit.subscription_id, type_, data, at)
