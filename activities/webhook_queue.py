"""From the outbox to the endpoints that want it: deliveries, in one lane for each subscription.

Handed out in the transaction that writes the event, so nothing is forgotten and nothing has to look for
what is new. A lane is a row with a lock: whoever adds to it and whoever empties it take turns, so a lane
with something in it is never missed (`api.outbound` sends).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Integer, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

# PostgreSQL channel on which API replicas hear that there is something to tell an app.
OUTBOUND_CHANNEL = "abono_outbound"
# Of one replay: a statement stays below a few seconds.
REPLAY_MAX = 10_000

# What has to arrive in order. Events of neither a subscription nor a purchase have a lane of what they
# are about.
_LANE = """coalesce(
    'subscription/' || event.subscription_id,
    'purchase/' || event.purchase_id,
    'benefit/' || (event.data ->> 'organization_id') || '/' || (event.data ->> 'benefit_id'),
    'endpoint/' || (event.data ->> 'webhook_endpoint_id'),
    'event/' || event.id
)"""
# As `models.outbound.matches`.
_WANTED = """EXISTS (
    SELECT FROM jsonb_array_elements_text(endpoint.event_types) AS pattern
    WHERE pattern = event.type
       OR (right(pattern, 1) = '*' AND starts_with(event.type, left(pattern, -1)))
) AND endpoint.id::text IS DISTINCT FROM event.data ->> 'webhook_endpoint_id'"""

# The lock keeps an endpoint from being deleted between the reading and the writing: such an endpoint is
# left out, and never fails the transaction that has something to tell. A lane that is there is written as
# it is, for its lock: whoever has just emptied it may be about to remove it.
_HAND_OUT = text(
    f"""
    WITH wanted AS (
        SELECT endpoint.id AS endpoint_id, event.id AS event_id, event.application_id,
               {_LANE} AS lane, event.sequence
        FROM outbound_events AS event
        JOIN webhook_endpoints AS endpoint ON endpoint.application_id = event.application_id
        WHERE event.id = ANY(:event_ids) AND endpoint.status <> 'disabled' AND {_WANTED}
        FOR KEY SHARE OF endpoint
    ), handed AS (
        INSERT INTO webhook_deliveries
            (endpoint_id, event_id, application_id, lane, sequence, status, created_at)
        SELECT endpoint_id, event_id, application_id, lane, sequence, 'pending', now() FROM wanted
        ON CONFLICT DO NOTHING
        RETURNING endpoint_id, lane
    ), lanes AS (
        INSERT INTO webhook_lanes AS known (endpoint_id, lane, due_at)
        SELECT DISTINCT endpoint_id, lane, now() FROM handed ORDER BY endpoint_id, lane
        ON CONFLICT (endpoint_id, lane) DO UPDATE SET due_at = known.due_at
    )
    SELECT pg_notify(:channel, '') WHERE EXISTS (SELECT FROM handed)
    """  # noqa: S608 - put together from constants.
).bindparams(bindparam("event_ids", type_=ARRAY(Uuid)), channel=OUTBOUND_CHANNEL)

# Again is also: at once, with all patience. What is being sent at this moment is left to its sender. The lock
# keeps an event from being dropped for its age meanwhile; one that was is left out.
_QUEUE_AGAIN = text(
    f"""
    WITH wanted AS (
        SELECT endpoint.id AS endpoint_id, event.id AS event_id, event.application_id,
               {_LANE} AS lane, event.sequence
        FROM outbound_events AS event
        JOIN webhook_endpoints AS endpoint ON endpoint.application_id = event.application_id
        LEFT JOIN webhook_deliveries AS known
            ON known.endpoint_id = endpoint.id AND known.event_id = event.id
        WHERE endpoint.id = :endpoint_id
          AND (CAST(:event_id AS uuid) IS NULL OR event.id = :event_id)
          AND (CAST(:since AS timestamptz) IS NULL OR event.created_at >= :since)
          AND (CAST(:until AS timestamptz) IS NULL OR event.created_at < :until)
          AND (CAST(:after AS uuid) IS NULL OR event.id > :after)
          AND (NOT :undelivered OR known.status IS DISTINCT FROM 'delivered')
          AND (CAST(:event_id AS uuid) IS NOT NULL OR {_WANTED})
        ORDER BY event.id
        LIMIT :limit
        FOR KEY SHARE OF event
    ), queued AS (
        INSERT INTO webhook_deliveries
            (endpoint_id, event_id, application_id, lane, sequence, status, created_at)
        SELECT endpoint_id, event_id, application_id, lane, sequence, 'pending', now() FROM wanted
        ON CONFLICT (endpoint_id, event_id)
        DO UPDATE SET status = 'pending', failures = 0, trying_since = NULL
        RETURNING endpoint_id, lane, event_id
    ), woken AS (
        INSERT INTO webhook_lanes AS known (endpoint_id, lane, due_at)
        SELECT DISTINCT endpoint_id, lane, now() FROM queued ORDER BY endpoint_id, lane
        ON CONFLICT (endpoint_id, lane) DO UPDATE SET due_at = now() WHERE known.claim_id IS NULL
    )
    SELECT event_id FROM queued ORDER BY event_id
    """  # noqa: S608 - put together from constants.
).bindparams(
    bindparam("endpoint_id", type_=Uuid),
    bindparam("event_id", type_=Uuid),
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
    bindparam("after", type_=Uuid),
    bindparam("limit", type_=Integer),
)


@dataclass(frozen=True)
class Choice:
    """Which events an endpoint is sent again; one by its id, whatever types the endpoint wants."""

    event_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: UUID | None = None
    undelivered: bool = False


async def hand_out(session: AsyncSession, event_ids: Sequence[UUID]) -> None:
    """Queue events, just written in this transaction, for every endpoint that wants them; with one that
    does, whoever delivers is woken."""
    await session.execute(_HAND_OUT, {"event_ids": list(event_ids)})


async def queue_again(session: AsyncSession, endpoint_id: UUID, choice: Choice) -> list[UUID]:
    """Queue what was told before, delivered or not; the ids, oldest first, at most REPLAY_MAX."""
    values = {"endpoint_id": endpoint_id, "limit": REPLAY_MAX, **vars(choice)}
    found = list(await session.scalars(_QUEUE_AGAIN, values))
    await ring(session)
    return found


async def ring(session: AsyncSession) -> None:
    """Wake whoever delivers, when this transaction is committed."""
    await session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": OUTBOUND_CHANNEL})
