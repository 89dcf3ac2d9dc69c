"""What is to be sent next, and what came of it: the tables behind the courier.

A lane is *claimed* by moving its due time behind the longest try, under a claim of its own; what came of
the try is written only by the holder of the claim. A crash in between means "sent again".

Locks are always taken in the order endpoint, lane, delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Interval,
    Uuid,
    bindparam,
    delete,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from api.clock import now
from models.outbound import FAILING_AFTER, DeliveryStatus
from models.storage.tables import (
    OutboundEvent,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookLane,
    new_id,
)

# From a claim until another replica takes the lane: several times the longest try.
LEASE = timedelta(seconds=60)

# By endpoint, so that one with much to send, or one that is slow, takes no turn of another's. An endpoint
# that fails gets one try at a time, over all replicas: who claims it locks it, and holds it for all.
_CLAIM = text(
    """
    WITH busy AS (
        SELECT * FROM unnest(:busy_ids, :busy_counts) AS busy (id, count)
    ), failing AS (
        SELECT endpoint.id FROM webhook_endpoints AS endpoint
        WHERE endpoint.status = 'enabled' AND endpoint.consecutive_failures >= :failing_after
          AND (endpoint.held_until IS NULL OR endpoint.held_until <= now())
          AND endpoint.id NOT IN (SELECT id FROM busy)
          AND EXISTS (SELECT FROM webhook_lanes AS lane
                      WHERE lane.endpoint_id = endpoint.id AND lane.due_at <= now())
        FOR NO KEY UPDATE SKIP LOCKED
    ), ready AS (
        SELECT id, 1 AS room FROM failing
        UNION ALL
        SELECT endpoint.id, :each - coalesce(busy.count, 0)
        FROM webhook_endpoints AS endpoint LEFT JOIN busy ON busy.id = endpoint.id
        WHERE endpoint.status = 'enabled' AND endpoint.consecutive_failures < :failing_after
    ), picked AS (
        SELECT due.endpoint_id, due.lane
        FROM ready CROSS JOIN LATERAL (
            SELECT lane.endpoint_id, lane.lane, lane.due_at FROM webhook_lanes AS lane
            WHERE lane.endpoint_id = ready.id AND lane.due_at <= now()
            ORDER BY lane.due_at LIMIT greatest(ready.room, 0)
            FOR UPDATE SKIP LOCKED
        ) AS due
        ORDER BY due.due_at LIMIT :room
    ), held AS (
        UPDATE webhook_endpoints AS endpoint SET held_until = now() + :lease
        WHERE endpoint.id IN (SELECT endpoint_id FROM picked)
          AND endpoint.id IN (SELECT id FROM failing)
    )
    UPDATE webhook_lanes AS lane SET claim_id = :claim_id, due_at = now() + :lease
    FROM picked WHERE lane.endpoint_id = picked.endpoint_id AND lane.lane = picked.lane
    RETURNING lane.endpoint_id, lane.lane
    """
).bindparams(
    bindparam("busy_ids", type_=ARRAY(Uuid)),
    bindparam("busy_counts", type_=ARRAY(BigInteger)),
    bindparam("room", type_=BigInteger),
    bindparam("each", type_=BigInteger),
    bindparam("failing_after", type_=BigInteger),
    bindparam("lease", type_=Interval),
    bindparam("claim_id", type_=Uuid),
)

# Seconds until something is due; negative when it is late. One look into the index for each endpoint.
_NEXT = text(
    """
    SELECT extract(epoch FROM min(greatest(first.due_at, endpoint.held_until)) - now())
    FROM webhook_endpoints AS endpoint CROSS JOIN LATERAL (
        SELECT lane.due_at FROM webhook_lanes AS lane
        WHERE lane.endpoint_id = endpoint.id ORDER BY lane.due_at LIMIT 1
    ) AS first
    WHERE endpoint.status = 'enabled'
    """
)


@dataclass(frozen=True)
class Errand:
    """One event to be sent to one endpoint now, and the claim to it."""

    claim_id: UUID
    endpoint: WebhookEndpoint
    delivery: WebhookDelivery
    event: OutboundEvent


async def claim(
    session: AsyncSession, *, room: int, each: int, busy: Mapping[UUID, int]
) -> list[Errand]:
    """At most `room` lanes that are due, and of each the event whose turn it is; `each` bounds what one
    endpoint has under way in this process, where `busy` counts what it has already."""
    claim_id = new_id()
    values = {
        "claim_id": claim_id,
        "room": room,
        "each": each,
        "busy_ids": list(busy),
        "busy_counts": list(busy.values()),
        "failing_after": FAILING_AFTER,
        "lease": LEASE,
    }
    lanes = [(row.endpoint_id, row.lane) for row in await session.execute(_CLAIM, values)]
    if not lanes:
        return []
    errands = [
        Errand(claim_id, endpoint, delivery, event)
        for endpoint, delivery, event in (await session.execute(_first_of(lanes))).all()
    ]
    empty = set(lanes) - {(one.delivery.endpoint_id, one.delivery.lane) for one in errands}
    await _remove(session, list(empty), claim_id)
    return errands


def _first_of(lanes: list[tuple[UUID, str]]) -> Any:
    return (
        select(WebhookEndpoint, WebhookDelivery, OutboundEvent)
        .join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
        .join(OutboundEvent, OutboundEvent.id == WebhookDelivery.event_id)
        .where(
            tuple_(WebhookDelivery.endpoint_id, WebhookDelivery.lane).in_(lanes),
            WebhookDelivery.status == text("'pending'"),  # Literal, for the partial index.
        )
        .ext(distinct_on(WebhookDelivery.endpoint_id, WebhookDelivery.lane))
        .order_by(
            WebhookDelivery.endpoint_id,
            WebhookDelivery.lane,
            WebhookDelivery.sequence,
            WebhookDelivery.event_id,
        )
    )


async def _remove(session: AsyncSession, lanes: list[tuple[UUID, str]], claim_id: UUID) -> None:
    """Lanes whose events were taken out while they waited."""
    if lanes:
        await session.execute(
            delete(WebhookLane).where(
                tuple_(WebhookLane.endpoint_id, WebhookLane.lane).in_(lanes),
                WebhookLane.claim_id == claim_id,
            )
        )


async def seconds_to_next(session: AsyncSession) -> float | None:
    seconds = await session.scalar(_NEXT)
    return None if seconds is None else float(seconds)


@dataclass(frozen=True)
class Held:
    """What an errand's result is written to, locked in this order."""

    endpoint: WebhookEndpoint
    lane: WebhookLane
    delivery: WebhookDelivery


async def lock(session: AsyncSession, errand: Errand) -> Held | None:
    """None when the claim has passed to somebody else, or the endpoint was deleted or disabled."""
    where = errand.delivery.endpoint_id
    # No key update: what is told meanwhile refers to the endpoint, and must not wait for us.
    endpoint = await session.scalar(
        select(WebhookEndpoint).where(WebhookEndpoint.id == where).with_for_update(key_share=True)
    )
    lane = await session.scalar(
        select(WebhookLane)
        .where(
            WebhookLane.endpoint_id == where,
            WebhookLane.lane == errand.delivery.lane,
            WebhookLane.claim_id == errand.claim_id,
        )
        .with_for_update()
    )
    if endpoint is None or lane is None:
        return None
    delivery = await session.get_one(
        WebhookDelivery, (where, errand.delivery.event_id), with_for_update=True
    )
    return Held(endpoint, lane, delivery)


async def release(session: AsyncSession, lane: WebhookLane, retry_at: datetime | None) -> None:
    """Give the lane back: due again at `retry_at`, or at once for the next event, or gone when it is
    empty. Whoever adds to it waits for the lock, and finds it so."""
    await session.flush()
    if retry_at is None and not await _has_more(session, lane):
        await session.delete(lane)
    else:
        lane.claim_id = None
        lane.due_at = retry_at or now()
    await session.flush()


async def _has_more(session: AsyncSession, lane: WebhookLane) -> bool:
    more = select(WebhookDelivery.event_id).where(
        WebhookDelivery.endpoint_id == lane.endpoint_id,
        WebhookDelivery.lane == lane.lane,
        WebhookDelivery.status == text("'pending'"),
    )
    return await session.scalar(more.limit(1)) is not None


async def wake_all(session: AsyncSession, endpoint_id: UUID) -> None:
    """Everything that waits for the endpoint is due now: it is well again."""
    await session.execute(
        update(WebhookLane)
        .where(WebhookLane.endpoint_id == endpoint_id, WebhookLane.claim_id.is_(None))
        .values(due_at=func.now())
        .execution_options(synchronize_session=False)
    )


async def start_anew(session: AsyncSession, endpoint_id: UUID) -> None:
    """What waits is due now, and has all its patience again."""
    await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.status == text("'pending'"),
        )
        .values(failures=0, trying_since=None)
        .execution_options(synchronize_session=False)
    )
    await wake_all(session, endpoint_id)


async def drop(session: AsyncSession, endpoint_id: UUID) -> None:
    """Nothing that waits for the endpoint is sent any more."""
    await session.execute(delete(WebhookLane).where(WebhookLane.endpoint_id == endpoint_id))
    await session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.status == text("'pending'"),
        )
        .values(status=DeliveryStatus.SKIPPED.value)
        .execution_options(synchronize_session=False)
    )
