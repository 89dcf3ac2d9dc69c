"""Drops what applications were told long ago: events, and what became of each at its endpoints.

An event goes with all its deliveries, when the last of them came to its end that long ago. What is still owed
stays, however old it is. So does the newest event of each subscription and purchase: the next one is numbered
after it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from models.storage.base import first_id_at
from models.storage.engine import Sessions

# Events that one transaction looks at: some 1 MB of rows with their deliveries, well below a second.
BATCH = 1000
# What stayed (one event of each subscription, and what is owed) is looked at again so often, what has grown
# old since the last time always.
ANEW_EVERY = timedelta(days=1)
_NO_ID = UUID(int=0)

_BETWEEN = {
    "after": bindparam("after", type_=Uuid),
    "until": bindparam("until", type_=Uuid),
}
_IDS = bindparam("ids", type_=ARRAY(Uuid))
_BEFORE = bindparam("before", type_=DateTime(timezone=True))

_BATCH_END = text(
    """
    SELECT id FROM outbound_events WHERE id > :after AND id <= :until
    ORDER BY id OFFSET :others LIMIT 1
    """
).bindparams(*_BETWEEN.values())

# A try that is under way is of a delivery that is pending.
_WANTED = """
    SELECT FROM webhook_deliveries AS wanted
    WHERE wanted.event_id = {event_id}
      AND (wanted.status = 'pending'
           OR greatest(wanted.created_at, wanted.last_attempt_at) >= :before)
"""

# Whoever has a replay of an event under way has it locked.
_LOCK = text(
    f"""
    SELECT event.id FROM outbound_events AS event
    WHERE event.id > :after AND event.id <= :until AND event.created_at < :before
      AND NOT EXISTS ({_WANTED.format(event_id="event.id")})
      AND (event.subscription_id IS NULL OR EXISTS (
          SELECT FROM outbound_events AS later
          WHERE later.subscription_id = event.subscription_id AND later.sequence > event.sequence))
      AND (event.purchase_id IS NULL OR EXISTS (
          SELECT FROM outbound_events AS later
          WHERE later.purchase_id = event.purchase_id AND later.sequence > event.sequence))
    FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - put together from constants.
).bindparams(*_BETWEEN.values(), _BEFORE)

# A statement of its own: only now, under the lock, is it certain that nothing is queued again. It waits for
# nobody, and so for nobody who waits for it: an endpoint that is being deleted locks its deliveries.
_DROP_DELIVERIES = text(
    f"""
    DELETE FROM webhook_deliveries AS gone USING (
        SELECT endpoint_id, event_id FROM webhook_deliveries AS delivery
        WHERE event_id = ANY(:ids)
          AND NOT EXISTS ({_WANTED.format(event_id="delivery.event_id")})
        FOR UPDATE SKIP LOCKED
    ) AS free
    WHERE gone.endpoint_id = free.endpoint_id AND gone.event_id = free.event_id
    """  # noqa: S608 - put together from constants.
).bindparams(_IDS, _BEFORE)

_DROP_EVENTS = text(
    """
    DELETE FROM outbound_events AS event
    WHERE event.id = ANY(:ids)
      AND NOT EXISTS (SELECT FROM webhook_deliveries AS left_over WHERE left_over.event_id = event.id)
    RETURNING event.id
    """
).bindparams(_IDS)


class DeliveryLog:
    """What was told, from its old end. Any number of replicas may drop from it at once: what one has locked
    the others leave out."""

    def __init__(self, sessions: Sessions, batch: int = BATCH) -> None:
        self._sessions = sessions
        self._batch = batch
        self._looked_to = _NO_ID
        self._anew_at: datetime | None = None

    async def drop(self, before: datetime, at: datetime) -> int:
        """Drop what was over before `before`, a batch at a time; how many events that were. `at` is now."""
        if self._anew_at is None or at >= self._anew_at:
            self._looked_to, self._anew_at = _NO_ID, at + ANEW_EVERY
        end, dropped = first_id_at(before), 0
        while self._looked_to < end:
            until = await self._batch_end(end)
            async with self._sessions.begin() as session:
                dropped += await _drop(session, self._looked_to, until, before)
            self._looked_to = until
        return dropped

    async def _batch_end(self, end: UUID) -> UUID:
        values = {"after": self._looked_to, "until": end, "others": self._batch - 1}
        async with self._sessions() as session:
            found: UUID | None = await session.scalar(_BATCH_END, values)
        return found or end


async def _drop(session: AsyncSession, after: UUID, until: UUID, before: datetime) -> int:
    between: dict[str, Any] = {"after": after, "until": until, "before": before}
    ids = list(await session.scalars(_LOCK, between))
    if not ids:
        return 0
    await session.execute(_DROP_DELIVERIES, {"ids": ids, "before": before})
    return len((await session.scalars(_DROP_EVENTS, {"ids": ids})).all())
