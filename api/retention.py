"""Drops what has been kept long enough: answers to idempotency keys, webhooks as they were received, and the
log of what applications were told (`api.outbound.retention`).

Of a webhook only the payload goes. The row stays, for it is how a repetition is known, with what was read
out of the payload. What was not applied yet keeps everything, however old it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, select, update

from api.clock import now
from api.context import ApiContext
from api.outbound.retention import DeliveryLog
from api.problems import is_database_away, log_unexpected
from models.storage.base import first_id_at
from models.storage.tables import IdempotencyKey, WebhookEvent

# What the API promises to whoever repeats a request.
IDEMPOTENCY_MIN = timedelta(hours=24)
_PAUSE_SECONDS = 3600.0
# Rows that one transaction locks: some 4 MB of payloads.
_BATCH = 1000
_NO_ID = UUID(int=0)


class Cleaner:
    """Any number of replicas may run one each: what one has locked the others leave out."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        # Everything before it has been dropped already: ids are ordered by time.
        self._swept_to = _NO_ID
        self._delivery_log = DeliveryLog(context.sessions)

    async def run(self) -> None:
        """Once an hour, until cancelled."""
        while True:
            for clean in (self.clean_idempotency, self.clean_payloads, self.clean_delivery_log):
                await _try(clean)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def clean_idempotency(self) -> None:
        """A key whose request still runs stays, however old it is."""
        moment = now()
        old = delete(IdempotencyKey).where(
            IdempotencyKey.created_at
            < moment - max(self._context.retention.idempotency, IDEMPOTENCY_MIN),
            IdempotencyKey.locked_until < moment,
        )
        async with self._context.sessions.begin() as session:
            await session.execute(old)

    async def clean_payloads(self) -> int:
        """How many payloads were dropped."""
        kept = self._context.retention.payloads
        if kept is None:
            return 0
        end = first_id_at(now() - kept)
        dropped = 0
        while count := await self._drop_payloads(end):
            dropped += count
        self._swept_to = await self._first_unapplied(end) or end
        return dropped

    async def clean_delivery_log(self) -> int:
        """How many events were dropped, with their deliveries."""
        kept = self._context.retention.deliveries
        if kept is None:
            return 0
        moment = now()
        return await self._delivery_log.drop(before=moment - kept, at=moment)

    async def _drop_payloads(self, end: UUID) -> int:
        batch = (
            select(WebhookEvent.id)
            .where(
                WebhookEvent.id >= self._swept_to,
                WebhookEvent.id < end,
                WebhookEvent.applied_at.is_not(None),
                WebhookEvent.payload != {},
            )
            .order_by(WebhookEvent.id)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
            .cte("batch")
        )
        drop = (
            update(WebhookEvent)
            .where(WebhookEvent.id == batch.c.id)
            .values(payload={})
            .returning(WebhookEvent.id)
            .execution_options(synchronize_session=False)
        )
        async with self._context.sessions.begin() as session:
            return len((await session.scalars(drop)).all())

    async def _first_unapplied(self, end: UUID) -> UUID | None:
        waiting = (
            select(WebhookEvent.id)
            .where(WebhookEvent.applied_at.is_(None), WebhookEvent.id < end)
            .order_by(WebhookEvent.id)
            .limit(1)
        )
        async with self._context.sessions() as session:
            found: UUID | None = await session.scalar(waiting)
        return found


async def _try(clean: Callable[[], Awaitable[object]]) -> None:
    try:
        await clean()
    except Exception as error:
        if not is_database_away(error):
            log_unexpected("cleaning failed", error)
